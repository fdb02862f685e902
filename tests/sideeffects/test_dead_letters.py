"""Promise: what ends without success is reported to a person, once for each cause, and the person decides it by a command."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from orders.clock import shop_now
from orders.models import Incident
from sideeffects import incidents, relay
from sideeffects.models import Delivery
from tests.conftest import SignIn
from tests.shop_clock import LIMITS_S, ShopClock
from tests.sideeffects.conftest import ALL_LOST, Owed, RecordFact, wanting

DECIDES = {"reason": "the mail server is back"}


@pytest.fixture(autouse=True)
def amara(sign_in: SignIn) -> None:
    sign_in("amara")


def dies(
    record_fact: RecordFact,
    subscriber: str,
    number: str,
    error: str = "The mail server refused the recipient for good (550)",
    code: str = "PermanentlyRefused",
) -> Owed:
    owed = record_fact(subscriber, number)
    Delivery.objects.create(
        fact=owed.fact, subscriber=subscriber, state="dead", tries=3, relaunches=9, error_code=code, error_message=error
    )
    return owed


def opened() -> list[tuple[str, str, str, str]]:
    return list(Incident.objects.order_by("id").values_list("subject", "code", "state", "message"))


def test_dead_letters_of_one_cause_are_one_incident_that_counts_them(record_fact: RecordFact) -> None:
    """A mail server that is away for a week is one thing to mend, not five thousand; an address that does not exist is another."""
    for number in range(3):
        dies(record_fact, "email", f"ORD-{number}", "TimeoutError in try 300", "TimeoutError")
    dies(record_fact, "email", "ORD-8")
    incidents.refresh()
    dies(record_fact, "email", "ORD-9", "", "TimeoutError")

    incidents.refresh()
    incidents.refresh()

    assert opened() == [
        ("email", "PermanentlyRefused", "open", "1 dead letter; the last: The mail server refused the recipient for good (550)"),
        ("email", "TimeoutError", "open", "4 dead letters"),
    ]
    assert "No money is at risk" in Incident.objects.first().sentence  # type: ignore[union-attr]


def test_what_is_held_for_a_removed_subscriber_is_reported(record_fact: RecordFact) -> None:
    record_fact("survey")
    relay.owe(ALL_LOST)
    relay.register(wanting(), release=1)

    incidents.refresh()

    assert opened() == [("survey", "subscriber_removed", "open", "no code knows this subscriber any more; held for it: 1")]


def test_a_name_that_stands_on_deliveries_alone_is_reported_and_decided_about(record_fact: RecordFact, clock: ShopClock) -> None:
    """A deploy renamed a subscriber that had never been written down: what it was owed does not wait for ever in silence."""
    relay.register(wanting("email"), release=7)
    owed = record_fact("email")
    Delivery.objects.create(fact=owed.fact, subscriber="survey", wake_at=shop_now())
    clock.passes(LIMITS_S["UNKNOWN_STEP_AFTER_S"])
    relay.register(wanting("email"), release=7)
    incidents.refresh()
    assert opened() == [], "a newer release may just be coming"
    clock.passes(1)

    relay.register(wanting("email"), release=7)
    incidents.refresh()
    assert opened() == [("survey", "subscriber_removed", "open", "no code knows this subscriber any more; held for it: 1")]

    call_command("deliveries", discard="survey", **DECIDES)
    incidents.refresh()
    assert opened()[0][2] == "resolved"


def test_what_fails_for_an_hour_is_reported_although_it_is_still_tried(record_fact: RecordFact, clock: ShopClock, settings: Any) -> None:
    """Points whose table is away are not a secret until their three days are over."""
    owed = record_fact("loyalty")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sideeffects_loyalty_balance RENAME TO gone")
    owed.run()
    clock.passes(settings.QUEUE_UNSERVED_LIMIT_S - 1)
    incidents.refresh()
    assert opened() == []
    clock.passes(1)

    incidents.refresh()

    assert opened() == [("loyalty", "failing", "open", "failing for longer than 360 s, and still tried: 1")]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gone RENAME TO sideeffects_loyalty_balance")
    assert owed.run() == "ORD-1: delivered"
    incidents.refresh()
    assert opened()[0][2] == "resolved"


def test_what_is_discarded_is_never_tried_again(record_fact: RecordFact, mailoutbox: list[Any]) -> None:
    owed = dies(record_fact, "email", "ORD-1")

    call_command("deliveries", discard="email", **DECIDES)

    assert owed.run() == "ORD-1: nothing to deliver here"
    assert owed.row()[0] == "discarded"
    assert mailoutbox == []


def test_the_command_shows_what_waits_and_why(record_fact: RecordFact, capsys: pytest.CaptureFixture[str]) -> None:
    dies(record_fact, "email", "ORD-1")
    record_fact("loyalty", "ORD-2")

    call_command("deliveries")

    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "email · 1 dead letter · PermanentlyRefused · the last: The mail server refused the recipient for good (550)"
    assert shown[-1].endswith("on their way, 1 wait for a person.")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"subscriber": "email"}, ["ORD-2", "ORD-1"]),
        ({"state": "dead"}, ["ORD-2", "ORD-1"]),
        ({"error": "TimeoutError"}, ["ORD-2"]),
        ({"order": "ORD-1"}, ["ORD-1"]),
        ({"state": "delivered"}, ["ORD-3"]),
        ({"subscriber": "email", "state": "held"}, []),
    ],
)
def test_deliveries_are_listed_by_subscriber_state_error_and_order(
    record_fact: RecordFact, capsys: pytest.CaptureFixture[str], filters: dict[str, str], found: list[str]
) -> None:
    dies(record_fact, "email", "ORD-1")
    dies(record_fact, "email", "ORD-2", "TimeoutError in try 300", "TimeoutError")
    record_fact("loyalty", "ORD-3").run()

    call_command("deliveries", **filters)

    shown = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[0] for line in shown if " · " in line] == found
    assert found or shown == ["There is no such delivery. Of a fact that nobody has begun to deliver there is none yet."]


def test_a_list_says_where_it_ends(record_fact: RecordFact, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fulfillment.management.operating.SHOWN", 1)
    dies(record_fact, "email", "ORD-1")
    dies(record_fact, "email", "ORD-2", "TimeoutError in try 300", "TimeoutError")

    call_command("deliveries", subscriber="email")

    assert capsys.readouterr().out.splitlines() == [
        "ORD-2 · email · dead letter · tries: 3 · TimeoutError: TimeoutError in try 300",
        "The newest 1 are shown; there are more.",
    ]


def test_a_decision_needs_a_person_and_something_to_decide(record_fact: RecordFact, capsys: pytest.CaptureFixture[str]) -> None:
    dies(record_fact, "email", "ORD-1")

    with pytest.raises(SystemExit) as usage:
        call_command("deliveries", discard="email")
    with pytest.raises(SystemExit) as nothing:
        call_command("deliveries", discard="loyalty", **DECIDES)
    with pytest.raises(SystemExit) as no_order:
        call_command("deliveries", order="ORD-77")

    assert usage.value.code == 2
    assert "--discard needs --reason." in capsys.readouterr().err
    assert nothing.value.code == "Nothing of loyalty waits for a person. Nothing was done."
    assert no_order.value.code == "There is no order ORD-77."


def test_incidents_lead_to_the_command(record_fact: RecordFact, capsys: pytest.CaptureFixture[str]) -> None:
    dies(record_fact, "email", "ORD-1")
    incidents.refresh()

    call_command("incidents")

    shown = capsys.readouterr().out
    assert "dead_letter · email · PermanentlyRefused · 1 subscriber · no money at risk" in shown
    assert "python manage.py deliveries" in shown
