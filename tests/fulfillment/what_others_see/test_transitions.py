"""Promise: what another session can see, and in which order. Intent is seen before a call leaves; an outcome and what it schedules are seen together; nothing is
published before it is true; nothing half done is ever seen.
"""

import pytest
from django.conf import settings
from django.db import transaction

from fulfillment import engine, recovery, tasks
from fulfillment.errors import InDoubt
from fulfillment.models import Saga, StockLevel
from fulfillment.recovery import Request, decide, version_of
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import REFUSED
from tests.fulfillment.what_others_see.conftest import FULFILLED, PAID, RESERVED, SCHEDULED, STARTED, out_of_stock, run, stopped, swept
from tests.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)

# --- forward ---------------------------------------------------------------------------------------------------------------


def test_an_order_is_published_once_it_is_there_with_its_first_step_scheduled(order: Order, witness: Witness) -> None:
    with witness.watching() as saw, transaction.atomic():
        tasks.start(order)

    assert saw == ["placed", SCHEDULED, "→ fulfillment.payment"]


def test_that_a_step_is_called_is_seen_before_the_call_leaves_and_its_outcome_with_the_next_one_scheduled(
    saga: int, witness: Witness
) -> None:
    with witness.watching() as saw:
        run(saga, "payment")

    assert saw == [SCHEDULED, STARTED, "→ POST /v1/charges", PAID]


def test_nothing_of_a_step_on_our_own_rows_is_seen_before_all_of_it(saga: int, witness: Witness) -> None:
    run(saga, "payment")

    with witness.watching() as saw:
        run(saga, "inventory")

    assert saw == [PAID, RESERVED]


def test_fulfilled_stock_and_fact_are_seen_together_and_published_afterwards(saga: int, witness: Witness) -> None:
    for name in ("payment", "inventory"):
        run(saga, name)

    with witness.watching() as saw:
        run(saga, "shipping")

    started = RESERVED.replace("shipping=scheduled", "shipping=started")
    published = [f"→ sideeffects.{name}" for name in ("analytics",)]  # the broker is away: the first that it refuses ends it
    assert saw == [RESERVED, started, "→ POST /v1/labels", FULFILLED, *published]


# --- where it does not go well ---------------------------------------------------------------------------------------------


def test_a_refusal_is_seen_and_turns_back_when_the_chain_has_ended(saga: int, order: Order, witness: Witness) -> None:
    Order.objects.update(payment_token="tok_declined")
    with witness.watching() as saw:
        run(saga, "payment")
    assert saw == [SCHEDULED, STARTED, "→ POST /v1/charges", "processing running/1 payment=rejected"]

    with witness.watching() as saw:
        stopped(saga)

    nothing_left = "payment=not_needed inventory=not_needed shipping=not_needed"
    assert saw == ["processing running/1 payment=rejected", f"payment_failed compensated/2 {nothing_left}"]


def test_a_local_step_that_is_refused_leaves_nothing_but_its_refusal(saga: int, witness: Witness) -> None:
    run(saga, "payment")
    StockLevel.objects.update(on_hand=1)

    with witness.watching() as saw:
        run(saga, "inventory")

    assert saw == [PAID, PAID.replace("scheduled", "rejected")]


def test_turning_back_is_one_change_and_each_compensation_is_seen_before_its_call(saga: int, witness: Witness) -> None:
    out_of_stock(saga)
    rejected = PAID.replace("scheduled", "rejected")
    compensating = "compensating compensating/2 payment=compensation_{} inventory=not_needed shipping=not_needed captured:100"

    with witness.watching() as saw:
        stopped(saga)
    assert saw == [rejected, compensating.format("scheduled"), "→ fulfillment.compensate_payment"]

    with witness.watching() as saw:
        run(saga, "compensate_payment")
    over = "inventory_failed compensated/2 payment=compensated inventory=not_needed shipping=not_needed captured:100 refunded:100"
    assert saw == [compensating.format("scheduled"), compensating.format("started"), "→ POST /v1/refunds", over]


def test_a_local_compensation_gives_the_stock_back_with_its_outcome_and_schedules_the_next(
    saga: int, order: Order, witness: Witness
) -> None:
    for name in ("payment", "inventory"):
        run(saga, name)
    recovery.cancel(order.number, "web-shop")
    swept(saga)
    seen = "compensating compensating/2 payment={} inventory={} shipping={} cancel captured:100 stock:{}"

    with witness.watching() as saw:
        run(saga, "compensate_shipping")
        run(saga, "compensate_inventory")

    assert [line for line in saw if not line.startswith("→")] == [
        seen.format("compensation_pending", "compensation_pending", "compensation_scheduled", "held"),
        seen.format("compensation_pending", "compensation_pending", "compensation_started", "held"),
        seen.format("compensation_pending", "compensation_scheduled", "compensated", "held"),
        seen.format("compensation_scheduled", "compensated", "compensated", "released"),
    ]


def test_a_retry_is_scheduled_under_its_epoch_before_it_is_published(saga: int, witness: Witness) -> None:
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None
    engine.record_failure(claim, InDoubt("silence"))

    with witness.watching() as saw:
        swept(saga)

    assert saw == ["processing running/1 payment=in_doubt", "processing running/2 payment=scheduled", "→ fulfillment.payment"]


def test_a_lost_message_is_counted_before_it_is_published_again(saga: int, witness: Witness) -> None:
    """Else one that kills whoever publishes it would go out for ever."""
    counts: list[int] = []
    leaves = witness.leaves

    def then_count(what: str) -> None:
        counts.append(witness._session.execute("SELECT relaunches FROM fulfillment_saga").fetchone()[0])  # type: ignore[index]
        leaves(what)

    setattr(witness, "leaves", then_count)  # noqa: B010
    with witness.watching():
        swept(saga)

    assert counts == [1]


def test_a_cancel_is_seen_and_then_all_of_the_turn(saga: int, order: Order, witness: Witness) -> None:
    with witness.watching() as saw:
        assert recovery.cancel(order.number, "web-shop") == "accepted"
        swept(saga)

    turned = "compensating compensating/2 payment=compensation_scheduled inventory=not_needed shipping=not_needed cancel"
    assert saw == [SCHEDULED, f"{SCHEDULED} cancel", turned, "→ fulfillment.compensate_payment"]


def test_who_waits_for_a_person_is_notified_in_the_same_change(saga: int, witness: Witness) -> None:
    Saga.objects.update(relaunches=settings.POISON_AFTER)

    with witness.watching() as saw:
        swept(saga)

    assert saw == [SCHEDULED, "placed needs_attention/2 payment=scheduled incident:stuck"]


def test_a_compensation_that_fails_for_good_and_its_incident_are_one_change(saga: int, witness: Witness) -> None:
    out_of_stock(saga)
    stopped(saga)
    claim = engine.start(saga, 2, "payment", True)
    assert claim is not None

    with witness.watching() as saw:
        engine.record_failure(claim, REFUSED)

    rest = "inventory=not_needed shipping=not_needed captured:100"
    assert saw == [
        f"compensating compensating/2 payment=compensation_started {rest}",
        f"compensating needs_attention/3 payment=compensation_failed {rest} incident:compensation_exhausted",
    ]


def test_a_decision_ends_its_incident_and_moves_the_order_in_one_change(saga: int, order: Order, witness: Witness) -> None:
    test_who_waits_for_a_person_is_notified_in_the_same_change(saga, witness)

    with witness.watching() as saw:
        decide(Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="mended"))

    assert saw == ["placed needs_attention/2 payment=scheduled incident:stuck", "placed running/3 payment=scheduled"]


def test_a_take_over_is_one_change(saga: int, witness: Witness) -> None:
    engine.start(saga, 1, "payment", False)

    with witness.watching() as saw:
        now_due(saga)
        recovery.inspect_saga(saga)

    assert saw == [STARTED, "processing running/2 payment=scheduled"]
