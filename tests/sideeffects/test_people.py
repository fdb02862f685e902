"""Promise: what ends without success is told to a person, once for each cause, and the person decides it by a command."""

from typing import Any

import pytest
from django.core.management import call_command

from orders.models import Incident
from orders.timeline import TimelineEntry
from sideeffects import people, relay
from sideeffects.models import Delivery
from tests.sideeffects.conftest import ALL_LOST, Tell, Told

DECIDES = {"actor": "amara", "reason": "the mail server is back"}


def dies(tell: Tell, subscriber: str, number: str, error: str = "The mail server refused the message for good (550)") -> Told:
    told = tell(subscriber, number)
    Delivery.objects.create(fact=told.fact, subscriber=subscriber, state="dead", tries=3, relaunches=9, error_message=error)
    return told


def incidents() -> list[tuple[str, str, str, str]]:
    return list(Incident.objects.order_by("id").values_list("subject", "code", "state", "message"))


def test_dead_letters_of_one_subscriber_are_one_incident_that_counts_them(tell: Tell) -> None:
    """A mail server that is away for a day is one thing to mend, not five thousand."""
    for number in range(3):
        dies(tell, "email", f"ORD-{number}")
    people.tell()
    dies(tell, "email", "ORD-9", error="")

    people.tell()
    people.tell()

    assert incidents() == [("email", "out_of_tries", "open", "4 dead letters")]
    assert "No money is at risk" in Incident.objects.get().sentence


def test_what_is_held_for_a_removed_subscriber_is_told(tell: Tell) -> None:
    tell("survey")
    relay.owe(ALL_LOST)
    relay.register([], release=1)

    people.tell()

    assert incidents() == [("survey", "subscriber_removed", "open", "1 deliveries are held, because the subscriber was removed")]


def test_a_retry_gives_fresh_tries_and_the_incident_closes_itself(tell: Tell) -> None:
    told, other = dies(tell, "email", "ORD-1"), dies(tell, "email", "ORD-2")
    people.tell()

    call_command("deliveries", retry="email", order="ORD-1", **DECIDES)
    people.tell()
    assert told.look() == ("pending", 0, "")
    assert other.look()[0] == "dead"
    assert incidents()[0][2:] == ("open", "1 dead letters; the last: The mail server refused the message for good (550)")

    call_command("deliveries", retry="email", **DECIDES)
    people.tell()
    assert [state for _, _, state, _ in incidents()] == ["resolved"]
    entry = TimelineEntry.objects.get(order=told.fact.order, code="retry")
    assert (entry.actor, entry.from_state, entry.to_state) == ("amara", "dead", "pending")
    assert "the mail server is back" in str(entry)


def test_what_is_discarded_is_never_tried_again(tell: Tell, mailoutbox: list[Any]) -> None:
    told = dies(tell, "email", "ORD-1")

    call_command("deliveries", discard="email", **DECIDES)

    assert told.run() == "ORD-1: nothing to deliver here"
    assert told.look()[0] == "discarded"
    assert mailoutbox == []


def test_the_command_shows_what_waits_and_why(tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    dies(tell, "email", "ORD-1")
    tell("loyalty", "ORD-2")

    call_command("deliveries")

    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "email · 1 dead letter · the last: The mail server refused the message for good (550)"
    assert shown[-1].endswith("on their way, 1 wait for a person.")


def test_a_decision_needs_a_person_and_something_to_decide(tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    dies(tell, "email", "ORD-1")

    with pytest.raises(SystemExit) as usage:
        call_command("deliveries", retry="email")
    with pytest.raises(SystemExit) as nothing:
        call_command("deliveries", retry="loyalty", **DECIDES)

    assert usage.value.code == 2
    assert "--retry needs --actor and --reason." in capsys.readouterr().err
    assert nothing.value.code == "Nothing of loyalty waits for a person. Nothing was done."


def test_incidents_lead_to_the_command(tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    dies(tell, "email", "ORD-1")
    people.tell()

    call_command("incidents")

    shown = capsys.readouterr().out
    assert "dead_letter · email · out_of_tries · 1 subscriber · no money at risk" in shown
    assert "python manage.py deliveries" in shown
