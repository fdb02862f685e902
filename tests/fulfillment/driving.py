"""Sagas driven by hand, one transition at a time."""

from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import InDoubt, Rejected, StepError
from fulfillment.gateways.lease import Lease
from fulfillment.models import Saga, StepRecord, StepState, StockLevel
from fulfillment.provider_call import call_provider
from fulfillment.steps import known
from orders.models import Order
from tests.fulfillment.conftest import now_due

REFUSED = Rejected("The provider refuses the refund.", code="refund_declined")


def epoch_of(saga: int) -> int:
    return Saga.objects.get(pk=saga).epoch


def found(saga: int) -> Saga:
    return Saga.objects.get(pk=saga)


def record(saga: int, name: str = "payment") -> StepRecord:
    return StepRecord.objects.get(saga=saga, name=name)


def start(saga: int, name: str = "payment", compensating: bool = False) -> engine.Claim:
    claim = engine.start(saga, found(saga).epoch, name, compensating)
    assert claim is not None, record(saga, name).state
    return claim


def work(saga: int, name: str = "payment", compensating: bool = False) -> Any:
    """What a worker does, with the answer that came."""
    claim, step = start(saga, name, compensating), known(name)
    assert step is not None
    answer = call_provider(step, claim, Lease.begin(lease_s()))
    if isinstance(answer, StepError):
        engine.record_failure(claim, answer)
    else:
        engine.record_success(claim, answer)
    return answer


def paid(saga: int) -> None:
    """Payment succeeded, with the order's total."""
    total = Saga.objects.select_related("order").get(pk=saga).order.total_minor
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": total})


def refused(saga: int) -> None:
    """Paid, and out of stock: the compensation of payment is scheduled."""
    paid(saga)
    StockLevel.objects.update(on_hand=0)
    with pytest.raises(Rejected):
        engine.run_local(saga, 1, "inventory", compensating=False)
    assert engine.chain_stopped(saga, 1) is not None


def cancelled(saga: int) -> None:
    """Paid, and cancelled: the compensation of payment is scheduled."""
    paid(saga)
    recovery.cancel(found(saga).order.number, "web-shop")
    now_due(saga)
    recovery.inspect_saga(saga)


def compensation_failed(saga: int, error: StepError = REFUSED) -> None:
    """Paid, out of stock, and the refund failed for good: a person must decide."""
    paid(saga)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.REJECTED, error_message="MUG is out of stock.")
    assert engine.chain_stopped(saga, 1) is not None
    claim = engine.start(saga, epoch_of(saga), "payment", compensating=True)
    assert claim is not None
    engine.record_failure(claim, error)


def in_doubt(saga: int) -> None:
    """Payment was asked for, and no answer came."""
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_failure(claim, InDoubt("No answer within 1 s."))


def cancel_refused(saga: int) -> None:
    """In doubt, cancelled, and its blind compensation was refused for good: nobody knows whether money was taken."""
    in_doubt(saga)
    recovery.cancel(found(saga).order.number, "amara")
    assert recovery.inspect_saga(saga) is not None
    engine.record_failure(start(saga, compensating=True), REFUSED)


def parked_forward(saga: int, poison_after: int) -> None:
    """Paid; the next step's message was lost too often."""
    paid(saga)
    for _ in range(poison_after + 1):
        now_due(saga)
        recovery.inspect_saga(saga)


def refund_goes_on(saga: int) -> None:
    """What the sweep and a worker do after a person's retry, once the provider is back."""
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    assert launch.compensating
    claim = engine.start(saga, launch.epoch, "payment", compensating=True)
    assert claim is not None
    engine.record_success(claim, {"amount_minor": claim.amount_minor})


def copy_of(order: Order, number: str) -> int:
    """Another order of the same client, and its saga."""
    copy = Order.objects.create(
        number=number,
        client=order.client,
        idempotency_key=number,
        shipping_address={},
        payment_token="tok_ok",
        correlation_id="c",
        currency="EUR",
        total_minor=100,
        customer_email="a@example.com",
        customer_name="A",
    )
    return engine.open_saga(copy).saga
