"""Orders at a provider that is out."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import InDoubt, StepError, Unavailable
from fulfillment.models import Saga, StepRecord, StockLevel
from orders.models import Order, OrderLine
from tests.fulfillment.conftest import now_due

PAY = "payments.sandbox.do"
REFUND = "payments.sandbox.compensate"
SILENCE = InDoubt("The provider did not answer in time.", code="timeout")
DOWN = Unavailable("The provider could not be reached.", code="connect_failed")
Place = Callable[..., int]


@pytest.fixture
def place(db: None) -> Place:
    """A new order's saga, by number."""
    client = User.objects.create(username="web-shop")
    StockLevel.objects.create(sku="MUG", on_hand=100)
    columns: dict[str, Any] = {"currency": "EUR", "total_minor": 100, "customer_email": "a@example.com", "customer_name": "A"}

    def placed(number: int) -> int:
        order = Order.objects.create(
            number=f"ORD-{number}",
            client=client,
            idempotency_key=str(number),
            shipping_address={},
            payment_token="t",
            correlation_id="c",
            **columns,
        )
        OrderLine.objects.create(order=order, sku="MUG", name="Mug", quantity=1, unit_price_minor=100)
        return engine.open_saga(order).saga

    return placed


def found(saga: int) -> Saga:
    return Saga.objects.select_related("order").get(pk=saga)


def record(saga: int, name: str = "payment") -> StepRecord:
    return StepRecord.objects.get(saga=saga, name=name)


def tries(saga: int, error: StepError | None = None, name: str = "payment", compensating: bool = False) -> bool:
    """One start, and what became of it. False: it may not start."""
    claim = engine.start(saga, found(saga).epoch, name, compensating)
    if claim is None:
        engine.could_not_start(saga, found(saga).epoch)
        return False
    if error is None:
        engine.record_success(claim, {"charge_id": "ch", "amount_minor": 100} if name == "payment" else {})
    else:
        engine.record_failure(claim, error)
    return True


def circuit(name: str = PAY) -> Circuit:
    return Circuit.objects.get(pk=name)


def opened(place: Place, error: StepError = DOWN) -> list[int]:
    """Three orders have failed: the circuit of payments is open."""
    sagas = [place(number) for number in (1, 2, 3)]
    for saga in sagas:
        assert tries(saga, error)
    assert circuit().state == CircuitState.OPEN
    for saga in sagas:
        now_due(saga)
        recovery.inspect_saga(saga)
    return sagas


def time_passes(seconds: float) -> None:
    """For whoever waits and for every circuit."""
    by = timedelta(seconds=seconds)
    Saga.objects.update(
        opened_at=F("opened_at") - by, deadline_at=F("deadline_at") - by, wake_at=F("wake_at") - by, held_at=F("held_at") - by
    )
    StepRecord.objects.update(
        first_started_at=F("first_started_at") - by,
        scheduled_at=F("scheduled_at") - by,
        compensation_scheduled_at=F("compensation_scheduled_at") - by,
    )
    Circuit.objects.update(next_probe_at=F("next_probe_at") - by, probe_until=F("probe_until") - by, opened_at=F("opened_at") - by)


def next_probe() -> int:
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")
    (launch,) = recovery.launch_probes()
    return launch.saga
