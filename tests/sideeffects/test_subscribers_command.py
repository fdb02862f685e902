"""Promise: one command shows who reacts to what, and how far each of them is."""

import json
from typing import Any

import pytest
from django.core.management import call_command

from sideeffects import relay
from sideeffects.models import Circuit, Delivery, DeliveryState, Subscriber, SubscriberState
from sideeffects.relay import Marks
from tests.shop_clock import ShopClock
from tests.sideeffects.conftest import ALL_LOST, RecordFact


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("subscribers", *words)
    return capsys.readouterr().out


def test_each_says_what_it_is_owed_what_waits_and_what_waits_for_a_person(
    record_fact: RecordFact, capsys: pytest.CaptureFixture[str], clock: ShopClock
) -> None:
    for number in range(3):
        record_fact("email", f"ORD-{number}")
    relay.owe(ALL_LOST, Marks())
    letter = Delivery.objects.filter(subscriber="email").order_by("pk")[0]
    Delivery.objects.filter(pk=letter.pk).update(state=DeliveryState.DEAD, wake_at=None, launched_at=None)
    Circuit.objects.create(subscriber="email", opened_at=clock.now)

    [line] = [line for line in shown(capsys).splitlines() if line.startswith("email")]

    assert "order.fulfilled from " in line
    assert line.endswith("2 deliveries wait · 1 delivery waits for a person · its service does not answer")


def test_one_that_no_code_knows_is_named_and_all_of_it_is_there_as_json(
    record_fact: RecordFact, capsys: pytest.CaptureFixture[str]
) -> None:
    Subscriber.objects.create(name="survey", starts_at=7, state=SubscriberState.REMOVED, release=1, types={"order.created": 0})

    assert "survey · removed · order.created from 7 on · 0 deliveries wait · no code here knows it" in shown(capsys).splitlines()
    found: list[dict[str, Any]] = json.loads(shown(capsys, "--json"))["subscribers"]
    assert next(one for one in found if one["name"] == "survey") | {"types": ["order.created"]} == next(
        one for one in found if one["name"] == "survey"
    )


@pytest.mark.django_db
def test_a_shop_without_any_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Subscriber.objects.all().delete()

    assert shown(capsys) == "There is no subscriber yet: the relay records them when it starts.\n"


def test_it_takes_as_many_statements_for_many_as_for_few(record_fact: RecordFact, django_assert_max_num_queries: Any) -> None:
    for number in range(12):
        record_fact("email", f"ORD-{number}")
    relay.owe(ALL_LOST, Marks())

    with django_assert_max_num_queries(8):
        call_command("subscribers")
