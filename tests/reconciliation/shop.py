"""A shop whose orders are driven to their end by hand, with a provider sandbox of each test's own: a real process that can be meddled with."""

from typing import Any

from django.contrib.auth.models import User

from fulfillment import engine, recovery
from fulfillment.errors import Rejected, StepError
from fulfillment.gateways.lease import Lease
from fulfillment.models import Saga, StepRecord, StockLevel
from fulfillment.provider_call import call_provider
from fulfillment.reconciliation import Report, reconcile
from orders.models import Incident, Order, OrderLine
from sideeffects import subscriber_audits
from tests.fulfillment.conftest import ADDRESS, SandboxProcess

TOTAL = 8_420
OWN_CHARGE, OWN_LABEL = "ORD-1:payment:do:1:testsnonce", "ORD-1:shipping:do:1:testsnonce"  # the keys of the plan


def do_key(order: Order, step: str) -> str:
    return StepRecord.objects.get(saga__order=order, name=step).do_key


class Shop:
    """``place`` drives an order to its end. ``plant`` lets its provider do what nobody asked for. ``reconcile`` compares the two."""

    def __init__(self, provider: SandboxProcess) -> None:
        self.provider = provider
        self.client = User.objects.create(username="web-shop")
        StockLevel.objects.create(sku="MUG", on_hand=100)

    def open(self, number: str = "ORD-1", token: str = "tok_ok", postal_code: str = "T12 X7YZ", pieces: int = 1) -> Order:
        """An order that has only just been placed."""
        order = Order.objects.create(
            number=number, client=self.client, idempotency_key=number, currency="EUR", total_minor=TOTAL, payment_token=token,
            customer_email="a@example.com", customer_name="A", correlation_id="c", shipping_address=ADDRESS | {"postal_code": postal_code},
        )  # fmt: skip
        OrderLine.objects.create(order=order, sku="MUG", name="Mug", quantity=pieces, unit_price_minor=TOTAL // pieces)
        engine.open_saga(order)
        return order

    def place(self, number: str = "ORD-1", **changes: Any) -> Order:
        """An order as it stands once the engine has done all that it can."""
        order = self.open(number, **changes)
        self.drive(order)
        return order

    def drive(self, order: Order) -> None:
        saga = Saga.objects.get(order=order)
        for _ in range(80):
            at = engine.current_action(Saga.objects.get(pk=saga.pk))
            if at is None:
                break
            one_try(saga.pk, at.name, compensating=at.is_compensation, state=at.state)
        order.refresh_from_db()

    def plant(self, operation: str, order: str, key: str, amount: int = TOTAL, profile: str = "", currency: str = "EUR") -> None:
        planted = {"operation": operation, "order": order, "key": key, "amount": amount, "currency": currency, "profile": profile}
        self.provider.client.post("/control/plant", json=planted).raise_for_status()

    def down(self, *what: str) -> None:
        self.provider.client.put("/control", json={"down": list(what)}).raise_for_status()

    def reconcile(self, since_h: float | None = None, repair: bool = True) -> Report:
        return reconcile(since_h, repair, lambda *_: None, subscriber_audits)

    def found(self, **options: Any) -> list[tuple[str, str, int]]:
        """(subject, rule, amount) of each finding of one run."""
        return [(finding.subject, finding.rule.value, finding.amount_minor) for finding in self.reconcile(**options).findings]

    def incidents(self) -> list[tuple[str, str, str, int, str]]:
        """(subject, kind, code, amount, state) of every incident there ever was."""
        return list(Incident.objects.order_by("id").values_list("subject", "kind", "code", "amount_minor", "state"))


def one_try(saga: int, name: str, compensating: bool, state: str | None) -> None:
    """What a worker would do with the saga's next step, or the sweep if none is scheduled."""
    if state != engine.ActionState.SCHEDULED:
        Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z", launched_at=None)
        recovery.inspect_saga(saga)
        return
    found = Saga.objects.get(pk=saga)
    step = engine.step_of(found, name)
    assert step is not None
    try:
        if step.local:
            engine.run_local(saga, found.epoch, name, compensating)
            return
    except Rejected:
        engine.chain_stopped(saga, found.epoch)
        return
    claim = engine.start(saga, found.epoch, name, compensating)
    if claim is None:
        engine.could_not_start(saga, found.epoch)
        return
    outcome = call_provider(step, claim, Lease.begin(30))
    if isinstance(outcome, StepError):
        engine.record_failure(claim, outcome)
        engine.chain_stopped(saga, found.epoch)
    else:
        engine.record_success(claim, outcome)
