"""Promise: whoever retries many orders sees first which they are and how much they are about, and exactly those are touched, once."""

import pytest
from django.contrib.auth.models import User

from fulfillment import recovery
from fulfillment.models import Saga, SagaState
from fulfillment.recovery import Refused, bulk_retries
from fulfillment.retry_batches import RetryBatch
from orders import operators
from orders.incidents import IncidentKind, open_incident
from orders.models import Order, RefusedAttempt
from orders.timeline import TimelineEntry
from tests.actors import AMARA, TUNDE, actor
from tests.fulfillment.commands.conftest import FIVE, Manage, _version, confirmed, decided, place, retries, work_off
from tests.fulfillment.driving import compensation_failed


def test_incidents_are_grouped_by_cause_most_money_first(many: dict[str, int], manage: Manage) -> None:
    lines = [line for line in manage("incidents").out.splitlines() if not line.startswith(" ")]

    assert lines[0].startswith("compensation_exhausted · payment · too_late · 1 order · €300.00 at risk · first ")
    assert lines[1].startswith("compensation_exhausted · payment · refund_declined · 6 orders · €4.01 + JP¥500 at risk · first ")
    assert lines[2] == "7 orders in 2 groups, €304.01 + JP¥500 at risk."


def test_an_order_with_two_incidents_is_one_order_and_what_a_provider_holds_is_not_retried(many: dict[str, int], manage: Manage) -> None:
    order = Order.objects.get(number="ORD-1")
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject=order.number, currency="EUR", order_id=order.pk, amount_minor=1)

    lines = manage("incidents").out.splitlines()

    assert lines[-1] == "7 orders in 3 groups, €304.02 + JP¥500 at risk."
    assert [line for line in lines if "retry_orders" in line and "orphan_payment" in line] == []
    assert len([line for line in lines if "retry_orders" in line]) == 2


RETRIED = {"compensation_exhausted", "in_doubt", "stuck", "quarantined", "unknown_step"}


@pytest.mark.parametrize("kind", IncidentKind.values)
def test_a_retry_is_advised_only_where_it_can_help(db: None, manage: Manage, kind: str) -> None:
    open_incident(IncidentKind(kind), subject="ORD-1", currency="EUR", code=kind)

    assert (f"retry_orders --kind {kind}" in manage("incidents").out) == (kind in RETRIED)


def test_for_forgotten_orders_the_recovery_is_advised(db: None, manage: Manage) -> None:
    open_incident(IncidentKind.FORGOTTEN_ORDERS, subject="orders", currency="EUR", code="forgotten_orders", count=5)

    assert "    python manage.py recover --restored\n" in manage("incidents").out


# --- many: the set ----------------------------------------------------------------------------------------------------------------


def test_a_preview_counts_with_amounts_is_stored_and_does_nothing(many: dict[str, int], manage: Manage) -> None:
    """I see how many would be retried, for how much money, how many not and why; and the line that does just this."""
    before = TimelineEntry.objects.count()

    preview = manage("retry_orders --kind compensation_exhausted --step payment --code refund_declined")

    batch = RetryBatch.objects.get()
    assert preview.code == 0
    assert preview.out.splitlines() == [
        "6 selected: 5 will be retried (€4.00 + JP¥500 at risk), 1 skipped (1 compensated).",
        "Nothing was done. To do it to just these, as they are now:",
        f'    python manage.py retry_orders --batch {batch.pk} --yes --reason "…"',
    ]
    assert list(batch.items.filter(skip="").values_list("order", "version", "amount_minor", "currency")) == [
        (number, _version(number), 500 if number == "ORD-7" else 100, "JPY" if number == "ORD-7" else "EUR") for number in FIVE
    ]
    assert bulk_retries.work() == 0
    assert TimelineEntry.objects.count() == before
    assert "Nobody has confirmed it: nothing was done." in manage(f"retry_orders --batch {batch.pk}").out
    as_json = manage("retry_orders --code too_late --json").json
    assert [(order["order"], order["skip"]) for order in as_json["orders"]] == [("ORD-6", "")]
    assert manage("retry_orders --step shipping").out.startswith("0 selected: 0 will be retried, 0 skipped.")


def test_exactly_what_was_previewed_is_touched(many: dict[str, int], amara: operators.Actor) -> None:
    """One that has failed since I looked waits for a look of its own; one that somebody has touched since is not touched by me."""
    batch = bulk_retries.preview(code="refund_declined")
    compensation_failed(place("ORD-8"))
    recovery.decide(recovery.Request(order="ORD-2", verb="note", version=_version("ORD-2"), actor=TUNDE, reason="not this one"))

    work_off(bulk_retries.confirm(batch.pk, amara, "the bank is back", 50))

    assert decided(batch) == [(number, "refused" if number == "ORD-2" else "done") for number in FIVE]
    assert (Saga.objects.get(order__number="ORD-8").state, retries()) == (SagaState.NEEDS_ATTENTION, 4)
    assert "has changed while you were looking" in batch.items.get(order="ORD-2").sentence


def test_what_is_no_order_of_ours_is_skipped_by_name(saga: int, manage: Manage) -> None:
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject="ORD-77", currency="EUR", amount_minor=500)

    assert manage("retry_orders --kind orphan_payment").out.startswith("1 selected: 0 will be retried, 1 skipped (1 no order of ours).")


# --- many: who, and how often --------------------------------------------------------------------------------------------------------


def test_only_who_may_retry_confirms_and_twice_is_once(many: dict[str, int], amara: operators.Actor) -> None:
    batch = bulk_retries.preview(code="refund_declined")
    with pytest.raises(Refused, match="decide_retry is missing"):
        bulk_retries.confirm(batch.pk, actor(7, "kim", frozenset()), "r", 20)
    with pytest.raises(Refused, match="There is no batch 999999"):
        bulk_retries.confirm(999_999, AMARA, "r", 20)
    assert bulk_retries.work() == 0
    assert RefusedAttempt.objects.count() == 2

    work_off(bulk_retries.confirm(batch.pk, amara, "the bank is back", 20))
    again = bulk_retries.confirm(batch.pk, TUNDE, "me too", 50)

    assert (again.actor, again.reason, bulk_retries.work(), retries()) == ("amara", "the bank is back", 0, 5)
    entry = TimelineEntry.objects.get(kind="operator", code="retry", order__number="ORD-3")
    assert (entry.actor, entry.detail["user"], entry.detail["reason"]) == ("amara", amara.user, "the bank is back")


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": False}], ids=["left", "lost the permission"])
def test_who_may_not_any_more_retries_nothing(many: dict[str, int], amara: operators.Actor, change: dict[str, bool]) -> None:
    """A batch that was confirmed by somebody who was sent away half-way ends there."""
    batch = confirmed(amara, rate_per_s=2)
    bulk_retries.work()
    User.objects.filter(pk=amara.user).update(**change)

    work_off(batch)

    assert [outcome for _, outcome in decided(batch)] == ["done", "done", "refused", "refused", "refused"]
    assert retries() == 2
