"""Promise: a client follows an order event by event: each once, in words and codes, and nothing of the shop's inner parts."""

from typing import Any

import pytest

from fulfillment import engine
from fulfillment.errors import Rejected, Unavailable
from fulfillment.models import Saga
from orders.api.events import TYPES
from orders.models import Order
from orders.timeline import EntryKind, TimelineEntry
from tests.fulfillment.driving import compensation_failed
from tests.orders.conftest import Client

MEMBERS = {"seq", "at", "type", "step", "code", "sentence"}


@pytest.fixture
def order(client: Client, body: dict[str, Any]) -> Order:
    return Order.objects.get(number=client.post(body).json()["number"])


def events(client: Client, order: Order, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/orders/{order.number}/events{query}")
    assert answer.status_code == 200, answer.json()
    return dict(answer.json())


def payment_ends(order: Order, error: Any) -> None:
    claim = engine.start(order.saga.pk, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_failure(claim, error)


def test_an_order_is_told_from_its_beginning_in_words_and_codes(client: Client, order: Order) -> None:
    """I can show my customer what happened, and my program can act on it."""
    payment_ends(order, Rejected("The bank says no", code="card_declined"))

    told = events(client, order)

    assert [event["seq"] for event in told["data"]] == [1, 2, 3, 4, 5]
    assert [event["type"] for event in told["data"]] == [
        "order.placed",
        "step.scheduled",
        "step.started",
        "order.processing",
        "step.rejected",
    ]
    last = told["data"][-1]
    assert set(last) == MEMBERS
    assert {event["type"] for event in told["data"]} <= set(TYPES)
    assert (last["step"], last["code"], last["sentence"]) == ("payment", "card_declined", "Payment rejected")


def test_whoever_follows_an_order_sees_each_event_once(client: Client, order: Order) -> None:
    """I keep the cursor of my last answer, and ask again until something has happened."""
    first = events(client, order, "?page_size=1")
    second = events(client, order, f"?cursor={first['next_cursor']}")
    nothing = events(client, order, f"?cursor={second['next_cursor']}")
    payment_ends(order, Unavailable("away", code="connect_failed"))
    later = events(client, order, f"?cursor={nothing['next_cursor']}")

    assert ([event["seq"] for event in first["data"]], first["has_more"], first["next_cursor"]) == ([1], True, "1")
    assert ([event["seq"] for event in second["data"]], second["has_more"]) == ([2], False)
    assert (nothing["data"], nothing["has_more"], nothing["next_cursor"]) == ([], False, "2")
    assert [event["seq"] for event in later["data"]] == [3, 4, 5]


def test_what_is_written_beside_the_order_moves_no_event(client: Client, order: Order) -> None:
    """Side effects are written at the same time by others: what I have seen keeps its number."""
    TimelineEntry.objects.create(order=order, kind=EntryKind.DELIVERY, name="email", to_state="delivered")
    TimelineEntry.objects.create(order=order, kind=EntryKind.INCIDENT, name="payment", to_state="open", code="in_doubt")
    TimelineEntry.objects.create(order=order, kind="newer", to_state="told")

    assert [event["seq"] for event in events(client, order)["data"]] == [1, 2]


def test_nothing_of_the_inside_and_nobody_s_name_is_told(client: Client, order: Order) -> None:
    compensation_failed(Saga.objects.get().pk)
    TimelineEntry.objects.create(order=order, kind=EntryKind.CANCEL, to_state="requested", actor="amara")

    answer = client.get(f"/orders/{order.number}/events?page_size=100")

    text = answer.content.decode()
    for inside in ("web-shop", "amara", "testsnonce", "epoch", "provider", '"saga', "tok_ok", "sandbox"):
        assert inside not in text, inside
    assert [event["type"] for event in answer.json()["data"][-2:]] == ["order.needs_attention", "cancel.requested"]


@pytest.mark.parametrize("cursor", ["3", "99999", "1000000000", "99999999999999999999"])
def test_a_cursor_of_an_event_that_has_not_happened_is_refused(client: Client, order: Order, cursor: str) -> None:
    """Whoever follows the wrong order, or has lost count, is told so, instead of missing what happens next."""
    answer = client.get(f"/orders/{order.number}/events?cursor={cursor}")

    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["location"], error["pointer"], error["code"]) == ("query", "/cursor", "invalid")
    assert "Its last event is 2." in error["detail"]


@pytest.mark.parametrize("query", ["?cursor=-1", "?cursor=x", "?cursor=", "?page_size=0", "?after=1", "?cursor=1&cursor=2"])
def test_what_is_not_understood_is_refused(client: Client, order: Order, query: str) -> None:
    assert client.get(f"/orders/{order.number}/events{query}").status_code == 400


def test_somebody_else_s_order_has_no_events(client: Client, order: Order) -> None:
    assert Client("other-shop").get(f"/orders/{order.number}/events").status_code == 404


def test_following_takes_few_statements(client: Client, order: Order, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(4):
        events(client, order)
