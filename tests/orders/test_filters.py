"""Promise: a client finds its orders by what it knows of them, page by page, and whatever the list does not understand is refused by name."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pgtrigger
import pytest
from django.db.models import Case, Value, When

from orders.models import Order, OrderLine, Status
from tests.orders.conftest import Client

PLACED = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def numbers(client: Client, body: dict[str, Any]) -> list[str]:
    """Six orders, an hour apart, the oldest first; each differs from the others."""
    numbers = []
    for n, status in enumerate(("fulfilled", "cancelled", "payment_failed", "compensating", "processing", "placed")):
        order = body | {
            "reference": f"web-{n % 2}",
            "customer": {"email": f"customer{n % 3}@example.com", "name": "Amara"},
            "lines": [{"sku": "TENT" if n < 4 else "MUG", "quantity": 1}],
        }
        numbers.append(_as(status, client.post(order).json()["number"], PLACED + timedelta(hours=n)))
    return numbers


def _as(status: str, number: str, placed_at: datetime) -> str:
    order = Order.objects.get(number=number)
    path = {"placed": (), "processing": ("processing",), "compensating": ("processing", "compensating")}.get(status, ("processing", status))
    for step in path:
        order.move(Status(step))
    Order.objects.filter(pk=order.pk).update(placed_at=placed_at, failure_code="card_declined" if status == "payment_failed" else "")
    OrderLine.objects.filter(order=order).update(placed_at=placed_at)
    return number


def found(client: Client, **query: str) -> list[str]:
    answer = client.api.get("/api/v1/orders", query)
    assert answer.status_code == 200, answer.json()
    return [order["number"] for order in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "which"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"status": "fulfilled"}, [0]),
        ({"status_group": "open"}, [5, 4, 3]),
        ({"status_group": "ended"}, [2, 1, 0]),
        ({"status_group": "failed"}, [2]),
        ({"status_group": "open", "status": "placed"}, [5]),
        ({"status_group": "open", "status": "fulfilled"}, []),
        ({"reference": "web-1"}, [5, 3, 1]),
        ({"reference": "WEB-1"}, []),
        ({"customer_email": "Customer2@Example.com"}, [5, 2]),
        ({"sku": "MUG"}, [5, 4]),
        ({"sku": "MUG", "status_group": "open", "placed_from": "2026-03-01T17:00:00Z"}, [5]),
        ({"sku": "NOPE"}, []),
        ({"failure_code": "card_declined"}, [2]),
        ({"placed_from": "2026-03-01T15:00:00Z"}, [5, 4, 3]),
        ({"placed_before": "2026-03-01T15:00:00Z"}, [2, 1, 0]),
        ({"placed_from": "2026-03-01T14:00:00+01:00", "placed_before": "2026-03-01T14:00:00Z"}, [1]),
        ({"sku": "TENT", "placed_from": "2026-03-01T14:00:00Z"}, [3, 2]),
    ],
)
def test_a_filter_finds_what_it_names_the_newest_first(client: Client, numbers: list[str], query: dict[str, str], which: list[int]) -> None:
    """I find an order by what I know of it."""
    assert found(client, **query) == [numbers[n] for n in which]


def test_a_reference_is_found_however_its_letters_are_composed(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body | {"reference": "café"}).json()["number"]

    assert found(client, reference="cafe\N{COMBINING ACUTE ACCENT}") == [number]


@pytest.mark.parametrize(
    "asked",
    ["fields=status&fields=reference", "fields=status,+reference", "fields=+status,,reference,", "fields=status&fields=,reference,status"],
)
def test_several_names_are_understood_however_a_client_writes_them(client: Client, numbers: list[str], asked: str) -> None:
    """Generated clients repeat the parameter."""
    (order,) = client.get(f"/orders?page_size=1&{asked}").json()["data"]

    assert order == {"number": numbers[5], "status": "placed", "reference": "web-1"}


@pytest.mark.parametrize("asked", ["expand=", "expand=,", "expand=+", "expand=&expand="])
def test_no_name_at_all_is_a_mistake(client: Client, asked: str) -> None:
    (error,) = client.get(f"/orders?{asked}").json()["errors"]

    assert (error["pointer"], error["code"]) == ("/expand", "blank")


def test_somebody_else_s_orders_are_found_by_no_filter(client: Client, numbers: list[str]) -> None:
    other = Client("other-shop")

    assert [
        found(other, **query) for query in ({"sku": "TENT"}, {"status_group": "open"}, {"customer_email": "customer0@example.com"})
    ] == [[], [], []]


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ({"statuss": "placed"}, "/statuss", "unknown_parameter"),
        ({"status": "Placed"}, "/status", "invalid_choice"),
        ({"status": ""}, "/status", "invalid_choice"),
        ({"status_group": "all"}, "/status_group", "invalid_choice"),
        ({"reference": ""}, "/reference", "blank"),
        ({"reference": "\x00"}, "/reference", "invisible"),
        ({"customer_email": "amara"}, "/customer_email", "invalid"),
        ({"sku": "x" * 41}, "/sku", "max_length"),
        ({"failure_code": " "}, "/failure_code", "blank"),
        ({"placed_from": "2026-03-01"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-03-01T12:00:00"}, "/placed_from", "invalid"),
        ({"placed_from": "yesterday"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-W01-1T00:00:00Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01X00:00:00Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01 00:00:00Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00Z"}, "/placed_from", "invalid"),
        ({"placed_from": "20260101T000000Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00:00+00:00:01.5"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00:00+01"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00:00,5Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00:00.Z"}, "/placed_from", "invalid"),
        ({"placed_from": "٢٠٢٦-01-01T00:00:00Z"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T00:00:00Z\n"}, "/placed_from", "invalid"),
        ({"placed_from": "2026-01-01T24:00:00Z"}, "/placed_from", "invalid"),
        ({"format": "xml"}, "/format", "unknown_parameter"),
        ({"updated_before": "0001-01-01T00:00:00+14:00"}, "/updated_before", "invalid"),
        ({"placed_from": "2026-03-02T00:00:00Z", "placed_before": "2026-03-01T00:00:00Z"}, "/placed_before", "empty_range"),
        ({"cursor": "bm9uZQ"}, "/cursor", "invalid"),
        ({"page_size": "0"}, "/page_size", "min_value"),
        ({"expand": "why"}, "/expand", "unknown_value"),
        ({"expand": ""}, "/expand", "blank"),
        ({"fields": "number,payment_token"}, "/fields", "unknown_value"),
    ],
)
def test_what_the_list_does_not_understand_is_refused_by_name(client: Client, query: dict[str, str], pointer: str, code: str) -> None:
    """A filter that I have misspelt does not show me every order."""
    answer = client.api.get("/api/v1/orders", query)

    assert answer.status_code == 400, answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert [(error["location"], error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("query", pointer, code)]


def test_everything_that_is_wrong_is_said_at_once(client: Client) -> None:
    """I correct my request once."""
    answer = client.get("/orders?status=gone&sort=newest&page_size=x&sku=A&sku=B")

    codes = {error["pointer"]: error["code"] for error in answer.json()["errors"]}
    assert codes == {"/status": "invalid_choice", "/sort": "unknown_parameter", "/page_size": "invalid", "/sku": "duplicate_parameter"}


@pytest.mark.parametrize(
    "query", ["", "status_group=open", "sku=TENT", "customer_email=amara@example.com", "placed_from=2020-01-01T00:00:00Z"]
)
def test_pages_stay_as_they_were_while_orders_are_added(client: Client, body: dict[str, Any], query: str) -> None:
    """I read page after page while my customers go on buying: nothing comes twice, and nothing is left out."""
    before = [client.post(body).json()["number"] for _ in range(5)]
    seen, cursor = [], ""

    for _ in range(3):
        page = client.get(f"/orders?page_size=2&{query}{cursor}").json()
        seen += [order["number"] for order in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
        client.post(body)

    assert seen == before[::-1]


def test_the_next_page_is_linked_to_with_its_filters(client: Client, numbers: list[str]) -> None:
    """I need not build an address."""
    first = client.get("/orders?status_group=ended&page_size=2")

    link = first["Link"].removeprefix("<").removesuffix('>; rel="next"')
    second = client.api.get(link).json()
    assert [order["number"] for order in second["data"]] == [numbers[0]]
    assert (second["has_more"], second["next_cursor"]) == (False, None)


def test_a_cursor_shows_no_key_of_ours_and_belongs_to_its_filters(client: Client, numbers: list[str]) -> None:
    """Nobody can tell from it how many orders others have, and with other filters it does not begin somewhere."""
    cursor = client.get("/orders?page_size=2").json()["next_cursor"]

    assert str(Order.objects.get(number=numbers[4]).pk) not in cursor
    for same in ("page_size=4", "fields=number", "expand=steps&fields=status"):
        assert client.get(f"/orders?{same}&cursor={cursor}").status_code == 200, "what is shown is no filter"
    for other in (f"/orders?status=placed&cursor={cursor}", f"/products?cursor={cursor}", f"/orders?cursor={cursor[:-1]}x"):
        assert client.get(other).json()["errors"][0]["pointer"] == "/cursor"


def test_whoever_follows_changes_sees_the_oldest_first_and_a_later_change_again(client: Client, numbers: list[str]) -> None:
    """I keep a copy of my orders up to date: an order that changes while I read is shown to me again, as it is then."""
    assert set(found(client, updated_from="2020-01-01T00:00:00Z")) == set(numbers)
    _changed_at_their_hours(numbers)

    page = client.get("/orders?updated_from=2026-03-01T13:00:00Z&page_size=2").json()
    assert [order["number"] for order in page["data"]] == numbers[1:3]
    _set_updated_at(numbers[1], PLACED + timedelta(hours=9))
    rest = client.get(f"/orders?updated_from=2026-03-01T13:00:00Z&cursor={page['next_cursor']}").json()["data"]

    assert [order["number"] for order in rest] == [*numbers[3:], numbers[1]]
    assert all(earlier["updated_at"] <= later["updated_at"] for earlier, later in pairwise(rest))
    assert found(client, updated_before="2026-03-01T13:00:00Z") == [numbers[0]]


def _changed_at_their_hours(numbers: list[str]) -> None:
    for n, number in enumerate(numbers):
        _set_updated_at(number, PLACED + timedelta(hours=n))


def _set_updated_at(number: str, instant: datetime) -> None:
    """As the database would write it at that instant."""
    with pgtrigger.ignore("orders.Order:touched"):
        settled_at = Case(When(ended_as="", then=None), default=Value(instant))
        Order.objects.filter(number=number).update(updated_at=instant, settled_at=settled_at)


def test_only_the_fields_that_are_asked_for_are_shown(client: Client, numbers: list[str]) -> None:
    """A list of a hundred numbers is small."""
    shown = client.get("/orders?fields=number,status,tracking_number&expand=steps&page_size=1").json()["data"]

    assert [list(order) for order in shown] == [["number", "status", "tracking_number", "steps"]]


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01T15:00:00Z",
        "2026-03-01t15:00:00z",
        "2026-03-01T15:00:00.0Z",
        "2026-03-01T15:00:00.000000000Z",
        "2026-03-01T15:00:00-00:00",
        "2026-03-01T20:45:00+05:45",
    ],
)
def test_an_instant_is_read_however_rfc_3339_writes_it(client: Client, numbers: list[str], written: str) -> None:
    assert found(client, placed_from=written) == [numbers[n] for n in (5, 4, 3)]


def test_zeros_before_a_number_change_nothing(client: Client, numbers: list[str]) -> None:
    page = client.get("/orders?page_size=000000000005").json()

    assert len(page["data"]) == 5
