"""What has happened before an example's request, by the name that the example gives it. Orders are numbered from 1043."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.db import OperationalError, connection
from django.test import override_settings

from fulfillment.code_release import RELEASE
from fulfillment.models import Saga, StepRecord
from orders.api import rate_limits
from orders.api.rate_limits import Window
from orders.client_tokens import ClientToken
from orders.erasure import pseudonymise
from orders.incidents import IncidentKind, open_incident
from orders.models import ClientSettings, Order, Status
from orders.pseudonyms import FORGOTTEN, marks_of
from orders.turns import Turn
from tests.actors import AMARA
from tests.orders.conftest import Client

FIRST_NUMBER = 1043
ORDER: dict[str, Any] = {
    "reference": "web-77120",
    "currency": "EUR",
    "customer": {"email": "amara@example.com", "name": "Amara Okafor"},
    "lines": [{"sku": "TENT-2P-GRN", "quantity": 1}, {"sku": "MUG-ENAMEL", "quantity": 2}],
    "payment": {"token": "tok_ok"},
    "shipping_address": {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"},
}
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"

Before = Callable[[Client], None]
SITUATIONS: dict[str, Before] = {}


def situation(name: str) -> Callable[[Before], Before]:
    def known(before: Before) -> Before:
        SITUATIONS[name] = before
        return before

    return known


@situation("")
def nothing(client: Client) -> None:
    pass


@situation("the order was placed")
def placed(client: Client) -> None:
    assert client.post(ORDER, KEY).status_code == 201


@situation("two orders were placed")
def two_placed(client: Client) -> None:
    placed(client)
    assert client.post(ORDER | {"reference": "web-77121", "lines": ORDER["lines"][:1]}).status_code == 201


@situation("each reference stands for one order, and the order was placed under another key")
def reference_is_taken(client: Client) -> None:
    ClientSettings.objects.create(client=client.user, unique_references=True)
    assert client.post(ORDER).status_code == 201


@situation("the order was shipped")
def shipped(client: Client) -> None:
    _ended(client, "completed", Status.FULFILLED)
    StepRecord.objects.update(state="succeeded", receipt={})
    StepRecord.objects.filter(name="shipping").update(receipt={"label_id": "lb_1", "tracking": "MO-7Q2K91"})


@situation("its customer was forgotten")
def forgotten(client: Client) -> None:
    shipped(client)
    order = Order.objects.get()
    pseudonymise(order, marks_of(order), AMARA, "She has asked for it")
    Order.objects.update(customer_email=f"{FORGOTTEN}-4f2c91d0a7b83e56@example.invalid")


@situation("the order was cancelled")
def cancelled(client: Client) -> None:
    _ended(client, "compensated", Status.CANCELLED)


def _ended(client: Client, state: str, status: Status) -> None:
    placed(client)
    Saga.objects.update(state=state, failure="" if status == Status.FULFILLED else status, wake_at=None)
    StepRecord.objects.update(state="not_needed")
    order = Order.objects.get()
    order.move(Status.PROCESSING)
    order.move(status)


@situation("the shop takes no orders")
def not_taken(client: Client) -> None:
    open_incident(IncidentKind.FORGOTTEN_ORDERS, subject="sandbox", currency="EUR")


@situation("more orders wait than the shop lets wait")
def overloaded(client: Client) -> None:
    open_incident(IncidentKind.OVERLOADED, subject="saga", currency="EUR", count=0)
    assert Turn("sweep", RELEASE).take()


@situation("the token has no scope")
def without_scope(client: Client) -> None:
    ClientToken.objects.filter(client=client.user).update(scopes=[])


@situation("the two products were bought together")
def bought_together(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO sideeffects_recommendations_copurchase (sku, other, orders) VALUES ('TENT-2P-GRN', 'MUG-ENAMEL', 3)")


@contextmanager
def _every_statement_fails(error: Exception) -> Iterator[None]:
    def fail(*_: Any) -> Any:
        raise error

    with connection.execute_wrapper(fail):
        yield


class _FullStore:
    """Somebody has sent as many requests as it may."""

    def count(self, key: str, limit: int) -> Window:
        return Window(limit=limit, taken=limit + 1, reset_s=42)


@contextmanager
def _too_many_requests() -> Iterator[None]:
    limits = dict.fromkeys(settings.RATE_LIMITS_PER_MIN, 600)
    full = patch.object(rate_limits, "store", lambda _: _FullStore())
    with full, override_settings(RATE_LIMIT_URL="redis://store.example", RATE_LIMITS_PER_MIN=limits):
        yield


# What goes on while the request is served.
MEANWHILE: dict[str, Callable[[], Any]] = {
    "the database is away": lambda: _every_statement_fails(OperationalError("the connection is lost")),
    "more requests were sent than the client may": _too_many_requests,
    "the shop is served over HTTPS": lambda: override_settings(HTTPS=True),
    "the code has an error": lambda: patch("rest_framework.views.APIView.initial", side_effect=ZeroDivisionError),
}
