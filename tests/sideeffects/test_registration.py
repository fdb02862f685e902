"""Promise: what was owed to a subscriber that has gone is held for a person, and what it missed is delivered when it is back."""

from orders.timeline import TimelineEntry
from sideeffects import dead_letters, relay
from sideeffects.models import Delivery, Subscriber
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, RecordFact, wanting
from tests.sideeffects.test_relay import due


def test_what_a_removed_subscriber_is_still_owed_is_held(record_fact: RecordFact) -> None:
    """It is not published for ever, and not forgotten either."""
    record_fact("survey")
    relay.owe(ALL_LOST)
    record_fact("survey", "ORD-2")
    relay.owe(NONE_LOST)  # numbered, and its message is under way

    relay.register(wanting("email"), release=1)

    assert set(Delivery.objects.values_list("fact__order__number", "state")) == {("ORD-1", "held"), ("ORD-2", "held")}
    assert [(group.subscriber, group.state, group.count) for group in dead_letters.groups()] == [("survey", "held", 2)]
    assert TimelineEntry.objects.filter(code="subscriber_removed").count() == 2


def test_a_subscriber_that_comes_back_hears_what_was_held(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)
    relay.register(wanting(), release=1)
    record_fact("loyalty", "ORD-2")
    relay.owe(ALL_LOST)

    relay.register(wanting("email", "loyalty"), release=2)

    assert [message.order for message in due() if message.subscriber == "email"] == ["ORD-1"]
    assert not Delivery.objects.filter(subscriber="email", fact__order__number="ORD-2").exists(), "it was gone then"


def test_older_code_that_starts_again_removes_nobody_and_brings_nobody_back(record_fact: RecordFact) -> None:
    relay.register(wanting("email", "survey"), release=2)
    relay.register(wanting("email"), release=3)

    relay.register(wanting("email", "survey"), release=2)
    assert Subscriber.objects.get(name="survey").state == "removed"
    relay.register(wanting(), release=2)
    assert Subscriber.objects.get(name="email").state == "active"
