"""Promise: what is written in an order means one thing or is refused by name; and a card number is kept nowhere."""

import json
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from fulfillment.recovery import Refused, Request
from fulfillment.recovery.circuits import hold
from fulfillment.recovery.requests import refuse_what_is_not_legal
from orders.models import Order
from orders.text import has_card_number
from tests.actors import AMARA
from tests.orders.conftest import Client
from tests.orders.test_placing import _set

VISA, MASTERCARD, AMEX = "4111111111111111", "5555555555554444", "378282246310005"
CARDS = {
    "plain": VISA,
    "spaces": "4111 1111 1111 1111",
    "hyphens": "4111-1111-1111-1111",
    "dots": "card 4111.1111.1111.1111, thanks",
    "after a house number": "12 4111 1111 1111 1111",
    "before an expiry": "4111111111111111 12/29 123",
    "dashes with spaces": "4111 – 1111 – 1111 – 1111",
    "one by one": " ".join(VISA),
    "full width": "４１１１１１１１１１１１１１１１",
    "Arabic": "٤١١١ ١١١١ ١١١١ ١١١١",
    "zero width": "4111\u200b1111\u200b1111\u200b1111",
    "no-break": "4111\xa01111\xa01111\xa01111",
    "Mastercard": MASTERCARD,
    "behind a longer number": f"12345678901234567890 {VISA}",
    "Mastercard, 2-series": "2223003122003222",
    "Amex": "3782 822463 10005",
    "Diners": "30569309025904",
    "Discover": "6011111111111117",
    "JCB": "3530111333300000",
    "UnionPay, 19": "6212341111111111108",
    "Maestro, 13": "6759649826430",
    "behind a plus": "+4111111111111111",
}
NO_CARDS = {
    "Luhn fails": "4111111111111112",
    "no brand": "9999999999999995",
    "too short": "411111111117",
    "part of a longer number": "41111111111111110000",
    "a phone": "+4111111111112",
    "an EAN": "4006381333931",
    "a tracking number": "00340434161094022115",
    "two dates": "2026-11-27 2026-11-28",
    "words between": "4111 1111 and 1111 1111",
}


@pytest.mark.parametrize("text", CARDS.values(), ids=CARDS)
def test_a_card_number_is_seen_however_it_is_written(text: str) -> None:
    assert has_card_number(text)


@pytest.mark.parametrize("text", NO_CARDS.values(), ids=NO_CARDS)
def test_other_numbers_are_no_cards(text: str) -> None:
    """A tenth of all numbers pass Luhn's check: a parcel's number is no card."""
    assert not has_card_number(text)


@pytest.mark.parametrize("text", ["4 " * 40_000, "4" * 240_000, "4\u200b" * 120_000], ids=["groups", "one number", "joiners"])
def test_a_text_is_searched_in_a_time_that_grows_as_it_does(text: str) -> None:
    """Whatever a stranger sends: every letter is looked at a bounded number of times."""
    begun = time.process_time()
    has_card_number(text[: len(text) // 8])
    an_eighth_s = time.process_time() - begun
    has_card_number(text)

    assert time.process_time() - begun - an_eighth_s < 16 * an_eighth_s


FREE_TEXT = ["customer/name", *(f"shipping_address/{name}" for name in ("name", "line1", "line2", "city", "state")), "payment/token"]


def places_of(text: str) -> list[str]:
    """Every table that holds ``text``, in whatever column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        holding = []
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" AS one WHERE one::text LIKE %s', [f"%{text}%"])
            holding += [table] * bool(cursor.fetchone()[0])
    assert len(tables) > 20
    return holding


@pytest.mark.parametrize("field", [*FREE_TEXT, "customer/email"])
def test_a_card_number_in_free_text_is_refused_and_kept_nowhere(
    client: Client, body: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """I have pasted my card into the wrong field: nobody keeps it, not even a log."""
    caplog.set_level(logging.DEBUG)
    _set(field, f"{VISA}@example.com" if field == "customer/email" else VISA)(body)

    answer = client.post(body)

    assert answer.status_code == 400, answer.json()
    assert (f"/{field}", "card_number") in [(error["pointer"], error["code"]) for error in answer.json()["errors"]]
    assert VISA not in answer.content.decode()
    assert VISA not in caplog.text
    assert places_of(VISA) == []


@pytest.mark.parametrize("field", [*FREE_TEXT, "customer/email", "reference", "lines/0/sku"])
@pytest.mark.parametrize("beginning", [f"{VISA} ", "\x1b", "\u200b"], ids=["card", "control", "invisible"])
def test_what_is_too_long_is_not_looked_at_further(client: Client, body: dict[str, Any], field: str, beginning: str) -> None:
    """A search takes time, and a stranger chooses what is searched."""
    _set(field, beginning + "x" * 300)(body)

    answer = client.post(body)

    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(f"/{field}", "max_length")]
    assert VISA not in answer.content.decode()


def test_references_and_keys_are_not_searched(client: Client, body: dict[str, Any]) -> None:
    """A client's own numbers may look like anything: a tenth of all do."""
    answer = client.post(body | {"reference": VISA}, key=MASTERCARD, **{"X-Request-ID": AMEX})

    assert answer.status_code == 201, answer.json()
    assert (Order.objects.get().reference, Order.objects.get().idempotency_key) == (VISA, MASTERCARD)
    assert places_of(VISA)[0] == "orders_order"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("customer/name", "Jo\nDoe", "control_character"),
        ("customer/name", "Jo\tDoe", "control_character"),
        ("customer/name", "Jo\n", "control_character"),
        ("customer/name", "\x1b[31mJo", "control_character"),
        ("customer/name", "Jo\u202eeoD", "control_character"),
        ("customer/name", "Jo\u2028Doe", "control_character"),
        ("reference", "web\r\n1", "control_character"),
        ("shipping_address/line2", "\x07", "control_character"),
        ("customer/name", "\u200b", "invisible"),
        ("customer/name", "\u200b\u200d\ufeff", "invisible"),
        ("shipping_address/line1", "\u3164", "invisible"),
        ("shipping_address/city", "\u2800\u00ad", "invisible"),
        ("reference", "\u2060", "invisible"),
        ("customer/name", "   ", "blank"),
        ("customer/email", "amara@exam\u200bple.com", "invalid"),
        ("customer/email", "ayd\u0131n@example.com", "invalid"),
        ("customer/email", "\u017fam@example.com", "invalid"),
        ("customer/email", '""@example.com', "invalid"),
        ("customer/email", f"amara@{'ä' * 60}.example", "invalid"),
        ("customer/name", 5, "invalid"),
        ("customer/name", True, "invalid"),
        ("shipping_address/postal_code", 1e2, "invalid"),
        ("reference", 1, "invalid"),
        ("lines/0/sku", 7, "invalid"),
        ("payment/token", 1.5, "invalid"),
        ("lines/0/quantity", "1", "invalid"),
        ("lines/0/quantity", "1_0", "invalid"),
        ("lines/0/quantity", "٣", "invalid"),
        ("lines/0/quantity", " 2 ", "invalid"),
        ("lines/0/quantity", 1.5, "invalid"),
        ("lines/0/quantity", 2.0, "invalid"),
        ("lines/0/quantity", True, "invalid"),
        ("lines/0/quantity", None, "null"),
    ],
)
def test_what_could_mean_two_things_is_refused_by_name(client: Client, body: dict[str, Any], field: str, value: Any, code: str) -> None:
    _set(field, value)(body)

    answer = client.post(body)

    assert answer.status_code == 400, answer.json()
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(f"/{field}", code)]
    assert not Order.objects.exists()


@pytest.mark.parametrize("name", ["Amara O’Kafor-Ní Bhriain", "李小龍", "نازنین\u200cزهرا", "👩\u200d👩\u200d👧 Ltd.", "X Æ A-12", "Renée"])
def test_names_of_all_the_world_are_kept(client: Client, body: dict[str, Any], name: str) -> None:
    """A joiner within a name belongs to it."""
    _set("customer/name", name)(body)

    assert client.post(body).status_code == 201
    assert Order.objects.get().customer_name == name


def send(client: Client, raw: str) -> Any:
    return client.api.post("/api/v1/orders", raw, content_type="application/json", headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize(
    ("written", "instead", "pointer", "code"),
    [
        ('"quantity": 1}', '"quantity": 1, "quantity": 900}', "/lines/0/quantity", "duplicate_field"),
        ('"quantity": 1}', '"quantity": 1, "\\u0071uantity": 1}', "/lines/0/quantity", "duplicate_field"),
        ('"currency": "EUR"', '"currency": "EUR", "currency": "EUR"', "/currency", "duplicate_field"),
        ('"payment": {', '"payment": {"token": "tok_declined"}, "payment": {', "/payment", "duplicate_field"),
        ('"city": "Cork"', '"city": "Cork", "city": "Dublin"', "/shipping_address/city", "duplicate_field"),
        ('"quantity": 1}', '"quantity": 1.9999999999999999999}', "/lines/0/quantity", "invalid"),
        ('"quantity": 1}', '"quantity": 1e0}', "/lines/0/quantity", "invalid"),
        ('"currency"', '"\\ud800": 1, "currency"', "/?", "unknown_field"),
    ],
)
def test_a_body_that_says_two_things_is_refused_by_name(
    client: Client, body: dict[str, Any], written: str, instead: str, pointer: str, code: str
) -> None:
    """Two readers of one body never see two orders."""
    raw = json.dumps(body)
    assert written in raw

    answer = send(client, raw.replace(written, instead, 1))

    assert answer.status_code == 400, answer.content
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert not Order.objects.exists()


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "utf-16", "latin-1", "cp037", "bz2", "undefined"])
@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/no-such-path"])
def test_a_body_that_names_another_encoding_is_not_read(client: Client, body: dict[str, Any], path: str, charset: str) -> None:
    """JSON is UTF-8, whatever its header says: whoever looks at it on the way to the shop sees the order that the shop sees."""
    body["customer"]["name"] = "Jo\\u0022, \\u0022email\\u0022: \\u0022other@example.com"

    answer = client.api.post(path, json.dumps(body), content_type=f"application/json; charset={charset}", headers={"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json().get("code")) == (400, "bad_request"), answer.content
    assert "UTF-8" in answer.json()["detail"]
    assert not Order.objects.exists()


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "no-such-thing"])
def test_a_body_that_names_its_own_encoding_is_read(client: Client, body: dict[str, Any], charset: str) -> None:
    """What nobody knows says nothing."""
    answer = client.api.post(
        "/api/v1/orders", json.dumps(body), content_type=f"application/json; charset={charset}", headers={"Idempotency-Key": "k"}
    )

    assert answer.status_code == 201, answer.content


@pytest.mark.parametrize("asked", ["1_0", "٣", "1.0", "+5", "", "0", "-1"])
def test_a_page_s_size_is_a_number(client: Client, asked: str) -> None:
    answer = client.api.get("/api/v1/orders", {"page_size": asked})

    assert answer.status_code == 400, answer.json()
    assert answer.json()["errors"][0]["pointer"] == "/page_size"


@pytest.mark.parametrize("field", ["reason", "evidence", "owner"])
def test_an_operator_s_card_number_is_not_kept_either(field: str) -> None:
    """Whoever copies a whole line from the bank's portal is told so."""
    asked: dict[str, Any] = {"order": "ORD-1", "verb": "retry", "version": 1, "actor": AMARA, "reason": "the bank is back"}
    request = Request(**asked | {field: CARDS["spaces"]})
    legal: Any = {"retry": SimpleNamespace(needs=())}

    with pytest.raises(Refused, match="card number"):
        refuse_what_is_not_legal(request, legal, "stands")


def test_a_circuit_is_not_held_for_a_card_number(db: None) -> None:
    with pytest.raises(Refused, match="card number"):
        hold("payments.sandbox.do", AMARA, CARDS["spaces"])


@pytest.mark.parametrize("digits", [41, 5_000])
def test_a_number_of_many_digits_is_refused_in_words_for_a_client(client: Client, digits: int) -> None:
    answer = send(client, f'{{"currency": {"9" * digits}}}')

    assert answer.status_code == 400, answer.json()
    assert "A number has more than 40 digits" in answer.json()["errors"][0]["detail"], answer.json()
