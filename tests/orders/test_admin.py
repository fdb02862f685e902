"""Promise: operators see why an order is where it is, and can change nothing by hand but what is theirs."""

import html
import re
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client as Browser

from fulfillment import engine
from fulfillment.engine import compensation
from fulfillment.models import Saga, StepRecord
from orders.models import Fact, Order, Product, RefusedAttempt, Status, TimelineEntry
from sideeffects.models import Delivery
from tests.fulfillment.driving import compensation_failed
from tests.orders.admin_form import opened
from tests.orders.conftest import Client, browser_of

SAVEPOINT = 2  # around the explanation: only where a transaction is open around it, as a test's own is


@pytest.fixture
def order(client: Client, body: dict[str, Any]) -> Order:
    return Order.objects.get(number=client.post(body).json()["number"])


def page(order: Order, action: str = "change") -> str:
    return f"/admin/orders/order/{order.pk}/{action}/"


def test_the_list_shows_status_steps_and_total_in_few_queries(
    operator: Browser, client: Client, body: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    for _ in range(12):
        client.post(body)

    with django_assert_max_num_queries(13):
        text = operator.get("/admin/orders/order/").content.decode()

    assert text.count("○</span>Placed") == 12
    assert "◌ payment" in text
    assert "€214.00" in text


def test_the_list_writes_times_as_everything_else_does_and_breaks_no_number(operator: Browser, order: Order) -> None:
    """I compare it with a log in UTC, and copy a number in one piece."""
    text = operator.get("/admin/orders/order/").content.decode()

    placed = f"{order.placed_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f'<time datetime="{order.placed_at.isoformat()}" style="white-space:nowrap">{placed}</time>' in text
    assert f'<span style="white-space:nowrap">{order.number}</span>' in text
    assert "a.m." not in text
    assert "p.m." not in text


def test_every_other_page_of_the_admin_shows_the_same_form(operator: Browser, client: Client) -> None:
    """When a price was changed, for instance."""
    tent = Product.objects.get(sku="TENT")
    opened(operator, f"/admin/orders/product/{tent.pk}/change/").send(name="Tent, green")
    LogEntry.objects.update(action_time="2026-11-24T15:47:00Z")

    assert "2026-11-24 15:47:00 UTC" in operator.get(f"/admin/orders/product/{tent.pk}/history/").content.decode()


def test_an_order_is_found_by_its_number(operator: Browser, order: Order) -> None:
    assert order.number in operator.get(f"/admin/orders/order/?q={order.number}").content.decode()
    assert "○</span>Placed" not in operator.get("/admin/orders/order/?q=ORD-9").content.decode()


def test_the_page_says_why_and_shows_everything_in_few_queries(operator: Browser, order: Order, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(16 + SAVEPOINT):
        text = operator.get(page(order)).content.decode()

    assert "Payment may start: its message is on the way to a worker." in text
    assert f"/task/{order.number}.payment.e1" in text
    assert "None yet: they begin when the order is fulfilled." in text
    assert "Order placed" in text
    assert "12 Harbour Rd" in text
    assert re.search(r"placed <time [^>]*>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time>", text)
    assert re.search(r"Since <time [^>]*>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time>", text)


def test_the_page_of_an_order_that_needs_attention_shows_what_may_be_decided(
    operator: Browser, order: Order, django_assert_max_num_queries: Any
) -> None:
    """I read why, what is at risk, where the runbook is, and the line that I may paste into a terminal."""
    compensation_failed(Saga.objects.get().pk)
    version = TimelineEntry.objects.order_by("id").last().pk  # type: ignore[union-attr]

    with django_assert_max_num_queries(18 + SAVEPOINT):
        text = html.unescape(operator.get(page(order)).content.decode())

    assert "⚠</span>Needs attention" in text
    assert "Blocked on a person." in text
    assert "Nothing is left to do." not in text
    assert "Payment: an undo could not be completed (The provider refuses the refund). €214.00 at risk." in text
    assert "docs/runbooks/compensation_exhausted.md" in text
    assert f'python manage.py decide {order.number} retry --version {version} --reason "…"' in text
    assert "Close the order as it is" in text
    assert "(€214.00 will be written off)" in text
    assert "Money, as we know it" in text
    assert (
        f'<td>Captured</td><td>payment</td><td class="n">€214.00</td><td><code>{order.number}:payment:do:1:testsnonce</code></td>' in text
    )


def test_the_list_tells_apart_what_needs_attention(operator: Browser, client: Client, body: dict[str, Any]) -> None:
    """I see it at a glance, and can have only those."""
    mine, other = (client.post(body).json()["number"] for _ in range(2))
    compensation_failed(Saga.objects.get(order__number=mine).pk)

    everything, waiting, calm = (
        operator.get(f"/admin/orders/order/{query}").content.decode() for query in ("", "?attention=yes", "?attention=no")
    )

    badge = "⚠</span>Needs attention"
    assert everything.count(badge) == waiting.count(badge) == 1
    assert [number in waiting for number in (mine, other)] == [True, False]
    assert [number in calm for number in (mine, other)] == [False, True]
    assert badge not in calm


@pytest.fixture
def failed(order: Order) -> Order:
    """At payment, as the engine leaves it."""
    Saga.objects.update(state="compensated", failure="payment_failed", wake_at=None)
    StepRecord.objects.update(state="not_needed")
    order.move(Status.PROCESSING)
    order.move(Status.PAYMENT_FAILED)
    return order


def test_the_step_at_which_an_order_failed_is_marked(operator: Browser, failed: Order) -> None:
    """I see at a glance what was declined, though nothing had to be compensated."""
    assert "✖ payment" in operator.get("/admin/orders/order/").content.decode()
    text = operator.get(page(failed)).content.decode()

    assert text.count("✖</span>Failed") == 1
    assert "None: the order was not fulfilled." in text
    assert "None yet" not in text
    assert "Nothing is left to do." in text


@pytest.mark.parametrize("name", ["insurance", "gift_wrap"])
def test_a_step_of_one_s_own_at_which_an_order_failed_is_marked_too(operator: Browser, order: Order, name: str) -> None:
    """It has no status of its own, and a badge all the same."""
    StepRecord.objects.filter(name="payment").update(name=name)
    with transaction.atomic():
        compensation.turn_back(engine.locking(Saga.objects.all()).get())

    assert f"✖ {name}" in operator.get("/admin/orders/order/").content.decode()
    text = operator.get(page(order)).content.decode()
    assert text.count(f'<th scope="row">{name}</th><td><span style') == 1
    assert text.count("✖</span>Failed") == 1
    assert "failed failed" not in text


def test_a_dead_letter_is_something_left_to_do(operator: Browser, order: Order) -> None:
    Saga.objects.update(state="completed", wake_at=None)
    columns = {"type": "order.fulfilled", "version": 2, "correlation_id": "c", "payload": {}, "relayed_at": "2026-11-24T00:00Z"}
    fact = Fact.objects.create(id=uuid.uuid4(), order=order, **columns)
    Delivery.objects.create(fact=fact, subscriber="email", state="dead")

    text = operator.get(page(order)).content.decode()

    assert "dead letters wait for a person: email." in text
    assert "Nothing is left to do." not in text


def test_an_order_has_no_empty_history_page(operator: Browser, order: Order) -> None:
    """Its history is its timeline; nobody edits it, so Django's page would be empty."""
    assert page(order, "history") not in operator.get(page(order)).content.decode()


def test_nobody_edits_an_order_by_hand(operator: Browser, order: Order) -> None:
    """Not even a superuser."""
    before = Order.objects.values().get()

    answers = [
        operator.post(page(order), {"status": "fulfilled", "total_minor": 1}),
        operator.post(page(order, "delete"), {"post": "yes"}),
        operator.get("/admin/orders/order/add/"),
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert Order.objects.values().get() == before
    assert operator.get("/admin/fulfillment/saga/").status_code == 404
    assert operator.get("/admin/sideeffects/delivery/").status_code == 404


def test_a_link_to_a_button_does_nothing(operator: Browser, order: Order) -> None:
    """A browser that loads links ahead cancels nothing."""
    for button in ("cancel", "retry-now"):
        assert operator.get(page(order, button)).status_code == 200

    assert Saga.objects.get().cancel_requested_at is None


def test_cancel_is_recorded_and_answered(operator: Browser, order: Order) -> None:
    answer = operator.post(page(order, "cancel"), {"_form_submitted": "True"}, follow=True)

    assert Saga.objects.get().cancel_requested_at is not None
    assert "The cancel is recorded" in answer.content.decode()
    assert "Cancel requested by operator" in answer.content.decode()


def test_a_client_is_not_told_which_operator_has_cancelled(operator: Browser, order: Order, client: Client) -> None:
    """Who works for the shop is none of my customers' business, who read this history."""
    operator.post(page(order, "cancel"), {"_form_submitted": "True"})

    history = [entry["sentence"] for entry in client.get(f"/orders/{order.number}?expand=timeline").json()["timeline"]]

    assert "Cancel requested" in history
    assert not [line for line in history if "operator" in line]


def test_the_whole_address_is_shown(operator: Browser, client: Client, body: dict[str, Any]) -> None:
    """The flat stands in the second line: without it nobody can tell a carrier where I live."""
    body["shipping_address"]["line2"] = "Flat 7"
    order = Order.objects.get(number=client.post(body).json()["number"])

    assert "12 Harbour Rd, Flat 7, T12 X7YZ Cork, IE" in operator.get(page(order)).content.decode()


def test_retry_makes_what_waits_due_now_and_says_when_nothing_waits(operator: Browser, order: Order) -> None:
    button = page(order, "retry-now")
    assert "Nothing was done" in operator.post(button, {"_form_submitted": "True"}, follow=True).content.decode()
    StepRecord.objects.filter(name="payment").update(state="retry_wait")
    Saga.objects.update(wake_at="2099-01-01T00:00Z")

    answer = operator.post(button, {"_form_submitted": "True"}, follow=True)

    assert "The next try is due now" in answer.content.decode()
    assert Saga.objects.get().wake_at.year < 2099  # type: ignore[union-attr]


def test_a_viewer_has_no_buttons(client: Client, order: Order) -> None:
    browser = browser_of("viewer", "view_order")

    assert "Cancel order" not in browser.get(page(order)).content.decode()
    assert browser.post(page(order, "cancel"), {"_form_submitted": "True"}).status_code == 403
    assert [(one.actor, one.user, one.verb, one.subject) for one in RefusedAttempt.objects.all()] == [
        ("viewer", User.objects.get(username="viewer").pk, "cancel", order.number)
    ]
    assert "viewer may not cancel: the permission orders.cancel_order is missing." in browser.get(page(order)).content.decode()


@pytest.mark.parametrize(
    ("permission", "mine", "other"), [("cancel_order", "cancel", "retry-now"), ("decide_retry_now", "retry-now", "cancel")]
)
def test_each_button_has_a_permission_of_its_own(client: Client, order: Order, permission: str, mine: str, other: str) -> None:
    """Who may cancel may not therefore retry; and what they do is theirs by number, whatever they are called later."""
    browser = browser_of("kim", "view_order", permission)
    StepRecord.objects.filter(name="payment").update(state="retry_wait")

    assert browser.post(page(order, mine), {"_form_submitted": "True"}).status_code == 302
    assert browser.post(page(order, other), {"_form_submitted": "True"}).status_code == 403

    assert TimelineEntry.objects.filter(actor="kim").count() == 1
    assert [one.verb for one in RefusedAttempt.objects.all()] == [other.replace("-", "_")]
