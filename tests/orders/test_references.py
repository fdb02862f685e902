"""Promise: a reference is unique where the client wants it, in whatever letters, and a retry is no second use of it."""

import unicodedata
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from orders.models import ClientSettings, Order
from tests.orders.conftest import Client
from tests.sides import at_once


@pytest.fixture
def strict(client: Client) -> Client:
    """A client that wants each of its references once."""
    ClientSettings.objects.create(client=client.user, unique_references=True)
    return client


def test_a_reference_is_unique_where_the_client_wants_it(strict: Client, body: dict[str, Any]) -> None:
    """My own order number never stands for two orders, whatever becomes of my keys."""
    number = strict.post(body).json()["number"]

    answer = strict.post(body)

    document = answer.json()
    assert (answer.status_code, document["code"], document["order"]) == (409, "reference_taken", number)
    assert (
        document["detail"] == f"Your reference 'web-1' belongs to {number}. Nothing was placed now. Read GET /api/v1/orders/{number} first."
    )
    assert Order.objects.count() == 1


@pytest.mark.parametrize(("first", "then"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_reference_is_the_same_however_its_letters_are_composed(strict: Client, body: dict[str, Any], first: Any, then: Any) -> None:
    """One of my machines composes letters, the other one does not: on every screen it is one reference."""
    reference = "Beställning för Zoë 7"
    number = strict.post(body | {"reference": unicodedata.normalize(first, reference)}).json()["number"]

    answer = strict.post(body | {"reference": unicodedata.normalize(then, reference)})

    assert (answer.status_code, answer.json().get("order")) == (409, number)


def test_a_reference_given_twice_is_two_orders_where_nobody_wants_otherwise(client: Client, body: dict[str, Any]) -> None:
    ClientSettings.objects.create(client=client.user)

    assert [client.post(body).status_code, client.post(body).status_code, Client("b").post(body).status_code] == [201, 201, 201]


def test_another_client_s_references_and_no_reference_at_all_are_free(strict: Client, body: dict[str, Any]) -> None:
    other = Client("other-shop")
    ClientSettings.objects.create(client=other.user, unique_references=True)
    answers = [strict.post(body), other.post(body), strict.post(body | {"reference": ""}), strict.post(body | {"reference": ""})]

    assert [answer.status_code for answer in answers] == [201] * 4


def test_orders_from_before_the_setting_count(client: Client, body: dict[str, Any]) -> None:
    """Two that have the same one already stay; a third is refused."""
    earliest = client.post(body).json()["number"]
    client.post(body)
    ClientSettings.objects.create(client=client.user, unique_references=True)

    document = client.post(body).json()

    assert (document["code"], document["order"]) == ("reference_taken", earliest)


def test_a_retry_under_its_key_is_its_order_and_no_second_use_of_the_reference(strict: Client, body: dict[str, Any]) -> None:
    first = strict.post(body, "k-1")

    assert strict.post(body, "k-1").json() == first.json()


def _places(client: Client, body: dict[str, Any], key: str) -> Callable[[], tuple[int, str]]:
    def place() -> tuple[int, str]:
        answer = client.post(deepcopy(body), key)
        return answer.status_code, answer.json().get("code", "")

    return place


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("after", ["pg_advisory_xact_lock", "INSERT INTO orders_order"])
def test_of_two_requests_at_once_one_gets_the_reference(strict: Client, body: dict[str, Any], after: str) -> None:
    """Whoever comes second waits for the first, and is told."""
    first, second = at_once(_places(strict, body, "k-1"), after, _places(strict, body, "k-2"), must_wait=True)

    assert (first, second) == ((201, ""), (409, "reference_taken"))
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_at_once_under_one_key_both_get_the_order(strict: Client, body: dict[str, Any]) -> None:
    """The twin waits for the reference, and finds that it is its own."""
    assert at_once(_places(strict, body, "k-1"), "pg_advisory_xact_lock", _places(strict, body, "k-1"), must_wait=True) == (
        (201, ""),
        (201, ""),
    )
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_different_references_do_not_wait_for_each_other(strict: Client, body: dict[str, Any]) -> None:
    other = body | {"reference": "web-2"}

    assert at_once(_places(strict, body, "k-1"), "pg_advisory_xact_lock", _places(strict, other, "k-2"), must_wait=False) == (
        (201, ""),
        (201, ""),
    )
