"""Promise: an address is asked for what its country needs and for nothing else, before a card is charged."""

from string import ascii_uppercase
from typing import Any
from unicodedata import name

import pytest
from django.conf import LazySettings

from orders.api import addresses
from orders.management.demo_data import CUSTOMERS
from orders.models import Order
from tests.orders.conftest import Client

CODES = [f"{a}{b}" for a in ascii_uppercase for b in ascii_uppercase]
HONG_KONG = {"name": "Wing Chan", "line1": "1 Queen's Road Central", "city": "Hong Kong", "country": "HK"}
DUBAI = {"name": "Amal Haddad", "line1": "Villa 4, Street 12", "city": "Dubai", "country": "AE"}
DOHA = {"name": "Amal Haddad", "line1": "Building 7, Zone 61", "city": "Doha", "country": "QA"}
AUSTIN = {"name": "Jo Doe", "line1": "1 Main St", "city": "Austin", "state": "TX", "postal_code": "78701", "country": "US"}
CORK = {"name": "Amara", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
TOKYO = {"name": "Aiko", "line1": "2-1 Marunouchi", "city": "Chiyoda-ku", "state": "Tokyo", "postal_code": "100-0005", "country": "JP"}
SINGAPORE = {"name": "Tan", "line1": "1 Raffles Place", "postal_code": "048616", "country": "SG"}


def without(address: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in address.items() if key != name}


@pytest.mark.parametrize(
    "address",
    [
        HONG_KONG,
        DUBAI,
        DOHA,
        HONG_KONG | {"postal_code": ""},
        without(HONG_KONG, "city") | {"state": "Kowloon"},
        without(DUBAI, "city") | {"state": "دبي"},
        DOHA | {"postal_code": "00000"},  # what an American form makes of it
        AUSTIN,
        AUSTIN | {"state": "texas", "postal_code": "78701-1234"},
        AUSTIN | {"state": "US-TX"},
        TOKYO,
        TOKYO | {"state": "東京都"},
        SINGAPORE,
        CORK,
        without(CORK, "postal_code"),
        CORK | {"postal_code": "t12x7yz", "state": "Co. Cork"},
        {"name": "Jo", "line1": "Kungsgatan 1", "city": "Umeå", "postal_code": "SE-903 25", "country": "SE"},
        {"name": "Ana", "line1": "Rua Augusta 1", "city": "São Paulo", "state": "Sao Paulo", "postal_code": "01305-000", "country": "BR"},
        {"name": "Kwame", "line1": "Ring Road 4", "city": "Accra", "postal_code": "GA-184-2020", "country": "GH"},  # newer than the data
        {"name": "Marie", "line1": "1 rue Sainte", "city": "Montréal", "state": "Québec", "postal_code": "H2Y 1A1", "country": "CA"},
    ],
    ids=lambda address: f"{address['country']} {address.get('state', '')} {address.get('postal_code', '')}",
)
def test_an_address_as_it_is_written_there_is_an_order(client: Client, body: dict[str, Any], address: dict[str, str]) -> None:
    """Nobody in Doha invents a postal code to be allowed to buy."""
    answer = client.post(body | {"shipping_address": address})

    assert answer.status_code == 201, answer.json()
    assert Order.objects.get().shipping_address == {name: value for name, value in address.items() if value}


@pytest.mark.parametrize(
    ("address", "field", "code"),
    [
        (CORK | {"country": "ZZ"}, "country", "unknown_country"),
        (CORK | {"country": "XX"}, "country", "unknown_country"),
        (CORK | {"country": "UK"}, "country", "unknown_country"),
        (CORK | {"country": "EU"}, "country", "unknown_country"),
        (without(AUSTIN, "state"), "state", "required"),
        (AUSTIN | {"state": ""}, "state", "required"),
        (AUSTIN | {"state": "Bavaria"}, "state", "unknown_state"),
        (without(AUSTIN, "postal_code"), "postal_code", "required"),
        (AUSTIN | {"postal_code": "SW1A 1AA"}, "postal_code", "invalid_postal_code"),
        (AUSTIN | {"postal_code": "٧٨٧٠١"}, "postal_code", "invalid_postal_code"),
        (without(CORK, "city"), "city", "required"),
        (CORK | {"postal_code": "T12"}, "postal_code", "invalid_postal_code"),
        (without(HONG_KONG, "city"), "state", "required"),
        (without(TOKYO, "state"), "state", "required"),
        (without(SINGAPORE, "postal_code"), "postal_code", "required"),
        ({"name": "Jo", "line1": "Downing St", "city": "London", "postal_code": "GIR 0AA7", "country": "GB"}, "postal_code", "invalid_postal_code"),
    ],
)  # fmt: skip
def test_what_a_country_needs_is_named_before_the_card_is_charged(
    client: Client, body: dict[str, Any], address: dict[str, str], field: str, code: str
) -> None:
    answer = client.post(body | {"shipping_address": address})

    assert answer.status_code == 400, answer.json()
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(f"/shipping_address/{field}", code)]
    assert not Order.objects.exists()


def test_a_refusal_says_how_it_is_written_there(client: Client, body: dict[str, Any]) -> None:
    messages = [
        client.post(body | {"shipping_address": address}).json()["errors"][0]["detail"]
        for address in (
            without(AUSTIN, "state"),
            without(TOKYO, "state"),
            AUSTIN | {"postal_code": "1"},
            CORK | {"country": "ZZ"},
            CORK | {"country": "UK"},
        )
    ]

    assert messages == [
        "An address in United States needs one, like AL.",
        "An address in Japan needs one, like Hokkaido.",
        "Not a postal code of United States: they look like 95014.",
        "No country has this code (ISO 3166-1).",
        "No country has this code (ISO 3166-1): use GB.",
    ]


def test_an_example_of_a_state_can_be_read_by_whoever_reads_english() -> None:
    """And it is one that is taken."""
    found = [rules for rules in map(addresses.rules_of, CODES) if rules is not None and rules.states]

    assert len(found) > 10
    assert [
        rules.country for rules in found if not all("LATIN" in name(letter) for letter in rules.state_example if letter.isalpha())
    ] == []
    assert [
        rules.country for rules in found if "state" in addresses.faults_of({"country": rules.country, "state": rules.state_example})
    ] == []


def test_the_carrier_s_test_values_are_postal_codes_of_every_country(client: Client, body: dict[str, Any], settings: LazySettings) -> None:
    """The demo refuses an address wherever it is; a real shop knows no test values."""
    address = CORK | {"postal_code": "00422"}

    allowed = client.post(body | {"shipping_address": address})
    settings.DEMO_VALUES = False
    refused = client.post(body | {"shipping_address": address, "payment": {"token": "a-real-one"}})

    assert (allowed.status_code, refused.status_code) == (201, 400)


@pytest.mark.parametrize("customer", CUSTOMERS, ids=lambda customer: customer.country + customer.email[:10])
def test_the_demo_s_customers_live_where_they_say(customer: Any) -> None:
    address = {name: value for name, value in customer._asdict().items() if value}

    assert addresses.faults_of(address) == {}


def test_every_country_can_be_asked(client: Client) -> None:
    """No country's data breaks the shop."""
    known = [country for country in CODES if "country" not in addresses.faults_of({"country": country, "postal_code": "1", "state": "x"})]

    assert len(known) == 252


@pytest.mark.parametrize(
    ("address", "line"),
    [
        (CORK, "12 Harbour Rd, T12 X7YZ Cork, IE"),
        (AUSTIN, "1 Main St, 78701 Austin, TX, US"),
        (DOHA, "Building 7, Zone 61, Doha, QA"),
        (SINGAPORE, "1 Raffles Place, 048616, SG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operator_sees_what_there_is(
    client: Client, body: dict[str, Any], admin_client: Any, address: dict[str, str], line: str
) -> None:
    client.post(body | {"shipping_address": address})

    page = admin_client.get(f"/admin/orders/order/{Order.objects.get().pk}/change/")

    assert line in page.content.decode()
