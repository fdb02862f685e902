"""The operators' commands, as somebody types them in a terminal."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings as shop_settings
from django.contrib.auth.models import User
from django.core.management import get_commands, load_command_class

from fulfillment import engine, recovery
from fulfillment.errors import Rejected
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, StepRecord
from fulfillment.recovery import bulk_retries
from fulfillment.retry_batches import RetryBatch
from orders import operators
from orders.incidents import IncidentKind, open_incident
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA
from tests.conftest import SignIn
from tests.fulfillment.driving import compensation_failed, parked_forward, refund_goes_on


@dataclass(frozen=True)
class Run:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


TOO_LATE = Rejected("It is too late to refund.", code="too_late")
Manage = Callable[[str], Run]


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str], sign_in: SignIn) -> Manage:
    """``manage("why ORD-1")``: as from a terminal, with its exit code, in this process and its transaction. By amara, or whom ``OPERATOR=`` before it names."""

    def run(line: str) -> Run:
        operator, line = re.fullmatch(r"(?:OPERATOR=(\w+) )?(.*)", line).groups("amara")  # type: ignore[union-attr]
        sign_in(operator)
        name, *words = shlex.split(line)
        capsys.readouterr()
        command: Any = load_command_class(str(get_commands()[name]), name)
        command._called_from_command_line = True
        code: Any = 0
        try:
            options = vars(command.create_parser("manage.py", name).parse_args(words))
            command.execute(*options.pop("args", ()), **options)
        except SystemExit as end:
            code = end.code
        output = capsys.readouterr()
        return Run(code, output.out, output.err) if isinstance(code, int) else Run(1, output.out, f"{output.err}{code}")

    return run


@pytest.fixture(autouse=True)
def nobody_answers(settings: Any) -> None:
    """A provider is asked where a test starts one, and nowhere else."""
    settings.SANDBOX_URL = "http://127.0.0.1:9"


def version() -> int:
    return recovery.version_of(Order.objects.get(number="ORD-1").pk)


def decide(verb: str, more: str = "", actor: str = "amara") -> str:
    return f"OPERATOR={actor} decide ORD-1 {verb} --version {version()} --reason 'ticket 7' {more}"


def state(saga: int) -> str:
    return Saga.objects.get(pk=saga).state


def journal(saga: int) -> tuple[Any, ...]:
    """Everything that a decision could change."""
    return (
        list(Saga.objects.filter(pk=saga).values()),
        list(StepRecord.objects.filter(saga=saga).values()),
        list(LedgerEntry.objects.values()),
        list(Incident.objects.values()),
        list(TimelineEntry.objects.values()),
    )


def stuck(saga: int) -> None:
    parked_forward(saga, shop_settings.POISON_AFTER)


def place(number: str, total_minor: int = 100, currency: str = "EUR") -> int:
    client = User.objects.get(username="web-shop")
    columns: dict[str, Any] = {"customer_email": "a@example.com", "customer_name": "A", "shipping_address": {}, "payment_token": "tok_ok"}
    order = Order.objects.create(
        number=number, client=client, idempotency_key=number, total_minor=total_minor, currency=currency, correlation_id="c", **columns
    )
    return engine.open_saga(order).saga


@pytest.fixture
def many(saga: int) -> dict[str, int]:
    """Six whose refund was declined, one of them refunded since; one of another cause; one in yen."""
    sagas = {"ORD-1": saga} | {f"ORD-{number}": place(f"ORD-{number}") for number in range(2, 6)}
    sagas |= {"ORD-6": place("ORD-6", 30_000), "ORD-7": place("ORD-7", 500, "JPY")}
    for number, one in sagas.items():
        compensation_failed(one, *([TOO_LATE] if number == "ORD-6" else []))
    recovery.decide(recovery.Request(order="ORD-5", verb="retry", version=_version("ORD-5"), actor=AMARA, reason="r"))
    refund_goes_on(sagas["ORD-5"])
    order = Order.objects.get(number="ORD-5")
    open_incident(
        IncidentKind.COMPENSATION_EXHAUSTED,
        subject="ORD-5",
        currency="EUR",
        order_id=order.pk,
        step="payment",
        code="refund_declined",
        amount_minor=1,
    )
    return sagas


def _version(number: str) -> int:
    return recovery.version_of(Order.objects.get(number=number).pk)


FIVE = ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-7"]


@pytest.fixture
def amara(sign_in: SignIn) -> operators.Actor:
    """A user of the database: who confirms must still be one when the sweep works."""
    return operators.of_user(sign_in("amara"))


def confirmed(by: operators.Actor, rate_per_s: float = 50) -> RetryBatch:
    return bulk_retries.confirm(bulk_retries.preview(code="refund_declined").pk, by, "the bank is back", rate_per_s)


def work_off(batch: RetryBatch) -> None:
    while not RetryBatch.objects.filter(pk=batch.pk, ended_at__isnull=False).exists():
        RetryBatch.objects.update(next_at="2020-01-01T00:00Z")
        bulk_retries.work()


def decided(batch: RetryBatch) -> list[tuple[str, str]]:
    return list(batch.items.exclude(outcome="").order_by("id").values_list("order", "outcome"))


def retries() -> int:
    return TimelineEntry.objects.filter(kind="operator", code="retry").exclude(order__number="ORD-5").count()
