"""Refunds that a provider of the sandbox refuses for good."""

import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.errors import InDoubt, StepError
from fulfillment.gateways import capabilities_of
from fulfillment.gateways.lease import Lease
from fulfillment.ledger import LedgerEntry
from fulfillment.models import PastAttempt, SagaState, StepState
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Request, decide, version_of
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.driving import copy_of, found, record, start
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, EDGE = LIMITS_S["LEASE_S"], 0.001
LAG = capabilities_of("payments", "sandbox").lookup_lag_s
SILENCE = InDoubt("No answer", code="timeout")
ALL = ("sandbox", "sandbox_forgetful", "sandbox_burn", "sandbox_watch", "sandbox_keyless")


def work(saga: int, name: str = "payment", compensating: bool = True) -> Any:
    """What a worker does, with the answer that came. It has seen the clock go as it should for long enough."""
    claim = replace(start(saga, name, compensating), watched_s=math.inf)
    step = engine.step_of(found(saga), name)
    assert step is not None
    answer = call_provider(step, claim, Lease.begin(LEASE))
    if isinstance(answer, StepError):
        engine.record_failure(claim, answer)
    else:
        engine.record_success(claim, answer)
    return answer


def sweep_when_due(saga: int, clock: ShopClock) -> None:
    clock.until(max(clock.now, found(saga).wake_at or clock.now))
    recovery.inspect_saga(saga)


def retried(saga: int, verb: str = "retry") -> None:
    order = found(saga).order
    decide(Request(order=order.number, verb=verb, version=version_of(order.pk), actor=AMARA, reason="once more"))


def entries(saga: int) -> list[tuple[str, int, str]]:
    """(operation, amount, key without the order's number)"""
    found_ = LedgerEntry.objects.filter(order_id=found(saga).order_id)
    return [(entry.operation, entry.amount_minor, entry.key.partition(":")[2]) for entry in found_]


def past(saga: int) -> list[tuple[bool, int, str, int | None, str]]:
    columns = ("compensating", "attempt", "key", "amount_minor", "code")
    return [
        (compensating, attempt, key.partition(":")[2], *rest)
        for compensating, attempt, key, *rest in PastAttempt.objects.values_list(*columns)
    ]


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    return f"ORD-{zlib.crc32(request.node.name.encode())}"


@dataclass
class Refusing:
    """Orders that were paid and cancelled, and whose refund the bank has refused once."""

    order: Order
    clock: ShopClock
    sandbox: SandboxProcess
    settings: Any
    number: str
    gateway: str = ""

    def __call__(self, gateway: str = "sandbox", token: str = "tok_refund_declined_once", given_back_before: int = 0) -> int:
        """``given_back_before``: what somebody else gives back before the refund is asked for."""
        self.settings.SANDBOX_URL, self.settings.PAYMENTS_GATEWAY, self.gateway = self.sandbox.url, gateway, gateway
        saga = copy_of(self.order, self.number)
        Order.objects.filter(number=self.number).update(payment_token=token)
        assert isinstance(work(saga, compensating=False), dict)
        recovery.cancel(self.number, "web-shop")
        sweep_when_due(saga, self.clock)
        if given_back_before:
            self.refunds_elsewhere(given_back_before)
        assert work(saga).code == "refund_declined"
        assert (found(saga).state, record(saga).state) == (SagaState.NEEDS_ATTENTION, StepState.COMPENSATION_FAILED)
        return saga

    def refunds_elsewhere(self, amount: int) -> None:
        profile = self.gateway.removeprefix("sandbox").lstrip("_")
        planted = {"operation": "refund", "order": self.number, "key": f"{self.number}:payment:do:1:testsnonce", "currency": "EUR"}
        answer = self.sandbox.client.post("/control/plant", json=planted | {"amount": amount, "profile": profile})
        assert answer.status_code == 201, answer.text

    @property
    def effects(self) -> list[tuple[str, int | None]]:
        return [(operation, amount) for operation, _, amount in self.sandbox.effects(self.number)]


@pytest.fixture
def refusing(order: Order, clock: ShopClock, sandbox: SandboxProcess, settings: Any, number: str) -> Refusing:
    return Refusing(order, clock, sandbox, settings, number)


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    """Opened by the clock that the test holds."""
    return engine.open_saga(order).saga
