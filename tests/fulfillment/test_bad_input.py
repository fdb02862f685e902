"""Promise: a receipt or a message that makes no sense harms nobody, and closing an order leaves no stock held."""

from typing import Any

import pytest

from fulfillment import recovery, stock, tasks
from fulfillment.answer_checks import storable
from fulfillment.errors import InDoubt
from fulfillment.models import Saga, SagaState, StepRecord, StepState, StockLevel
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA


@pytest.mark.parametrize(
    "receipt",
    [{"at": object()}, {"n": float("nan")}, {"text": "a\x00b"}, ["a", "list"], {"long": "x" * 30_000}],
    ids=["object", "nan", "null character", "list", "long"],
)
def test_a_receipt_that_cannot_be_stored_is_in_doubt(receipt: object) -> None:
    """It took place; the same key asks again, and nothing is stranded."""
    with pytest.raises(InDoubt) as doubt:
        storable(receipt)
    assert doubt.value.code == "receipt_unusable"


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({}, "saga is missing or is no int; epoch is missing or is no int; order is missing or is no str"),
        ({"saga": 1, "epoch": "2", "order": "ORD-1"}, "epoch is missing or is no int"),
        ({"saga": 1, "epoch": 2, "order": "ORD-1", "amount": 3}, "amount is not known"),
    ],
)
def test_a_message_with_wrong_arguments_is_refused_in_a_sentence(message: dict[str, Any], wrong: str) -> None:
    for task in (*tasks.TASKS.values(), tasks.failed):
        assert task(**message) == f"refused: {wrong}"
        assert task(1, **message) == "refused: its arguments must be named: saga, epoch, order"


def test_a_message_of_the_future_or_of_a_saga_that_is_not_there_does_nothing(saga: int) -> None:
    before = TimelineEntry.objects.count()
    for message in ({"saga": saga, "epoch": 99, "order": "ORD-1"}, {"saga": 10**9, "epoch": 1, "order": "ORD-0"}):
        for task in tasks.TASKS.values():
            assert "nothing to do here" in task(**message)
        assert "noted" in tasks.failed(**message)
    assert TimelineEntry.objects.count() == before


@pytest.mark.parametrize(("parcel_left", "level"), [(True, (1, 0)), (False, (3, 0))])
def test_closing_an_order_leaves_no_stock_held(saga: int, order: Order, parcel_left: bool, level: tuple[int, int]) -> None:
    """What left with a parcel that could not be called back is gone; what did not is free again."""
    held = stock.reserve(order.number, {"MUG": 2})
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.COMPENSATION_PENDING, receipt={"reservations": held})
    failed = "shipping" if parcel_left else "payment"
    StepRecord.objects.filter(saga=saga, name=failed).update(state=StepState.COMPENSATION_FAILED, error_code="x")
    Saga.objects.filter(pk=saga).update(state=SagaState.NEEDS_ATTENTION, failure="shipping_failed")
    Order.objects.filter(pk=order.pk).update(status="processing")

    recovery.decide(
        recovery.Request(
            order="ORD-1", verb="close", version=recovery.version_of(order.pk), actor=AMARA, reason="agreed", evidence="", amount_minor=0
        )
    )

    assert StockLevel.objects.values_list("on_hand", "reserved").get() == level
