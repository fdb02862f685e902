"""Promise: a batch is worked off at its rate, whoever dies meanwhile, and what became of each order can be read."""

import pytest
from django.db import OperationalError
from django.db.models import F

from config.management.commands.sweep import Sweep
from fulfillment import engine, recovery
from fulfillment.models import Saga
from fulfillment.recovery import bulk_retries
from fulfillment.retry_batches import RetryBatch
from orders import operators
from orders.clock import shop_now
from orders.models import Order
from tests.fulfillment.commands.conftest import FIVE, TOO_LATE, Manage, confirmed, decided, retries, work_off
from tests.fulfillment.driving import in_doubt, refund_goes_on, start


def fails_again(saga: int) -> None:
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    claim = engine.start(saga, launch.epoch, "payment", compensating=True)
    assert claim is not None
    engine.record_failure(claim, TOO_LATE)


# --- many: its rate, and what may happen to it -----------------------------------------------------------------------------------------


def test_no_more_than_the_rate_are_decided_in_a_second(many: dict[str, int], amara: operators.Actor) -> None:
    """And never more than the sweep can carry, whatever is asked for."""
    batch = confirmed(amara, rate_per_s=2)

    assert (bulk_retries.work(), bulk_retries.work()) == (2, 0)
    batch.refresh_from_db()
    assert batch.next_at is not None
    RetryBatch.objects.update(next_at=F("next_at") - (batch.next_at - shop_now()))
    assert (bulk_retries.work(), bulk_retries.work()) == (2, 0)
    assert confirmed(amara, rate_per_s=1000).rate_per_s == bulk_retries.FASTEST_PER_S


def test_slower_than_one_a_second_is_kept_too(many: dict[str, int], amara: operators.Actor) -> None:
    batch = confirmed(amara, rate_per_s=0.1)

    assert (bulk_retries.work(), bulk_retries.work()) == (1, 0)
    batch.refresh_from_db()
    assert 9 < (batch.next_at - shop_now()).total_seconds() <= 10  # type: ignore[operator]


def test_who_was_never_charged_was_not_refunded(order: Order, saga: int, amara: operators.Actor) -> None:
    """€1.00 was at risk because nobody knew; the provider knew of nothing, and nothing was given back."""
    in_doubt(saga)
    recovery.cancel(order.number, "web-shop")
    Saga.objects.update(wake_at="2020-01-01T00:00Z", launched_at=None)
    assert recovery.inspect_saga(saga) is not None
    engine.record_failure(start(saga, compensating=True), TOO_LATE)
    batch = bulk_retries.confirm(bulk_retries.preview(code="too_late").pk, amara, "the bank is back", 50)
    work_off(batch)
    assert batch.items.get().amount_minor == 100

    assert recovery.inspect_saga(saga) is not None
    engine.record_success(start(saga, compensating=True), {"amount_minor": 0})

    assert bulk_retries.outcomes(batch) == {"ORD-1": "undone"}


def test_killed_half_way_it_goes_on_by_itself_and_does_nothing_twice(
    many: dict[str, int],
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sweep dies after a decision, before it has noted it here: the next one finds that it was done."""
    batch = confirmed(amara)
    really = recovery.decide

    def dies(request: recovery.Request) -> recovery.Answer:
        answer = really(request)
        if request.order == "ORD-3":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("fulfillment.recovery.bulk_retries.decide", dies)
    with pytest.raises(KeyboardInterrupt):
        bulk_retries.work()
    monkeypatch.setattr("fulfillment.recovery.bulk_retries.decide", really)

    work_off(batch)

    assert decided(batch) == [(number, "repeated" if number == "ORD-3" else "done") for number in FIVE]
    assert retries() == 5


def test_the_sweep_works_it_off_beside_everything_else(
    many: dict[str, int], amara: operators.Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to keep a terminal open."""
    batch = confirmed(amara)
    monkeypatch.setattr("config.management.commands.sweep.tasks.launch", lambda launch: True)
    monkeypatch.setattr("config.management.commands.sweep.tasks.send_probe", lambda queue, stamp: True)
    monkeypatch.setattr(Sweep, "_reconcile", lambda self: 0)

    Sweep(lambda line: None).round()

    assert [outcome for _, outcome in decided(batch)] == ["done"] * 5


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("a bug"), "failed"), (OperationalError("held"), "")])
def test_one_that_breaks_or_is_held_does_not_stop_the_others(
    many: dict[str, int],
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    outcome: str,
) -> None:
    """One that is held ends the round, and is tried again after the others."""
    batch = confirmed(amara)
    really = recovery.decide

    def breaks(request: recovery.Request) -> recovery.Answer:
        if request.order == "ORD-2":
            raise error
        return really(request)

    monkeypatch.setattr("fulfillment.recovery.bulk_retries.decide", breaks)
    monkeypatch.setattr(bulk_retries, "is_our_trouble", lambda error: isinstance(error, OperationalError))
    monkeypatch.setattr(bulk_retries, "is_unusable", lambda error: False)
    for _ in range(3):
        RetryBatch.objects.update(next_at="2020-01-01T00:00Z")
        bulk_retries.work()

    assert dict(batch.items.filter(skip="").values_list("order", "outcome")) == dict.fromkeys(FIVE, "done") | {"ORD-2": outcome}
    batch.refresh_from_db()
    assert (batch.ended_at is None) == (outcome == "")


# --- many: what became of them ---------------------------------------------------------------------------------------------------------


def test_what_became_of_each_order_is_shown(many: dict[str, int], manage: Manage, amara: operators.Actor) -> None:
    """ "Decided" is not "refunded": I see both, and which ones failed again."""
    batch = bulk_retries.preview(code="refund_declined")
    assert bulk_retries.counted(bulk_retries.outcomes(batch)) == "5 waiting"
    run = manage(f"retry_orders --batch {batch.pk} --yes --reason 'the bank is back'")
    assert run.code == 0
    assert "Confirmed by amara (the bank is back), 20 a second at most: 5 waiting." in run.out
    assert "No sweep runs, and only the sweep goes on with it: manage.py doctor." in run.out

    work_off(batch)
    assert bulk_retries.counted(bulk_retries.outcomes(batch)) == "5 waiting"
    for number in ("ORD-1", "ORD-3"):
        refund_goes_on(many[number])
    assert bulk_retries.counted(bulk_retries.outcomes(batch)) == "2 refunded, 3 waiting"
    fails_again(many["ORD-2"])
    for number in ("ORD-4", "ORD-7"):
        refund_goes_on(many[number])

    shown = manage(f"retry_orders --batch {batch.pk}")
    assert shown.code == 0
    assert "4 refunded, 1 failed again, 0 waiting." in shown.out
    assert "ORD-2: failed again." in shown.out
    followed = manage(f"retry_orders --batch {batch.pk} --follow --json")
    assert followed.code == 1
    assert followed.json["counted"] == "4 refunded, 1 failed again, 0 waiting"
    assert {one["order"]: one["became"] for one in followed.json["orders"] if not one["skip"]}["ORD-2"] == "failed again"


def test_following_shows_each_change_and_ends_when_none_waits(
    many: dict[str, int],
    manage: Manage,
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = confirmed(amara)
    work_off(batch)
    left = [*FIVE]
    monkeypatch.setattr("fulfillment.management.commands.retry_orders.time.sleep", lambda seconds: refund_goes_on(many[left.pop()]))

    followed = manage(f"retry_orders --batch {batch.pk} --follow")

    assert (followed.code, followed.err.splitlines()[:2]) == (0, ["5 waiting", "1 refunded, 4 waiting"])
    assert "5 refunded, 0 waiting." in followed.out
