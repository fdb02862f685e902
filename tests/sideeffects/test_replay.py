"""Promise: what was a dead letter is sent again when a person says so: those that they chose, no faster than they said, and what customers see only when asked."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orders.models import Fact
from orders.timeline import TimelineEntry
from sideeffects import dead_letters, deliveries, discovery, incidents, relay
from sideeffects.models import Delivery
from tests.conftest import SignIn
from tests.shop_clock import ShopClock
from tests.sideeffects.conftest import Owed, RecordFact

DECIDES = {"yes": True, "reason": "the mail server is back"}
MAILS = DECIDES | {"customers_see_it": True}


@pytest.fixture(autouse=True)
def amara(sign_in: SignIn) -> None:
    sign_in("amara")


def dies(record_fact: RecordFact, subscriber: str, number: str, code: str = "TimeoutError") -> Owed:
    owed = record_fact(subscriber, number)
    counted = {"tries": 300, "relaunches": 320, "unspent": 2}
    Delivery.objects.create(fact=owed.fact, subscriber=subscriber, state="dead", error_code=code, error_message="away", **counted)
    return owed


def states(*owed: Owed) -> list[str]:
    return [one.row()[0] for one in owed]


def replay(**options: Any) -> None:
    call_command("replay", **options)


def test_it_is_shown_first_and_nothing_is_done(record_fact: RecordFact, capsys: pytest.CaptureFixture[str]) -> None:
    points, mail = dies(record_fact, "loyalty", "ORD-1", "ProgrammingError"), dies(record_fact, "email", "ORD-2")

    replay(all=True)

    assert capsys.readouterr().out.splitlines() == [
        "email · TimeoutError · 1 dead letter · left out: customers see it: add --customers-see-it",
        "loyalty · ProgrammingError · 1 dead letter",
        '1 would be sent again. Nothing was done. To do it, add: --yes --reason "…"',
    ]
    assert states(points, mail) == ["dead", "dead"]


def test_what_customers_see_is_sent_again_only_when_that_was_asked_for(record_fact: RecordFact, mailoutbox: list[Any]) -> None:
    """Nobody gets last month's receipts because somebody mended the points."""
    points, mail = dies(record_fact, "loyalty", "ORD-1"), dies(record_fact, "email", "ORD-2")

    replay(all=True, **DECIDES)
    assert states(points, mail) == ["pending", "dead"]
    with pytest.raises(SystemExit) as refused:
        replay(subscriber="email", **DECIDES)
    assert str(refused.value.code).endswith("left out: customers see it: add --customers-see-it\nNothing was done.")

    replay(subscriber="email", **MAILS)
    mail.run()
    assert (states(mail), len(mailoutbox)) == (["delivered"], 1)


def test_a_letter_has_fresh_tries_a_fresh_limit_and_its_line_of_history_and_the_incident_closes_itself(record_fact: RecordFact) -> None:
    owed, other = dies(record_fact, "email", "ORD-1"), dies(record_fact, "email", "ORD-2")
    incidents.refresh()

    replay(order="ORD-1", **MAILS)
    incidents.refresh()
    row = owed.delivery
    assert (row.state, row.tries, row.unspent, row.relaunches, row.failing_since) == ("pending", 0, 0, 0, None)
    assert states(other) == ["dead"]
    assert [group.count for group in dead_letters.groups()] == [1]

    replay(subscriber="email", **MAILS)
    incidents.refresh()
    assert dead_letters.groups() == []
    entry = TimelineEntry.objects.get(order=owed.fact.order, code="replay")
    assert (entry.actor, entry.from_state, entry.to_state) == ("amara", "dead", "pending")
    assert "the mail server is back" in str(entry)


def test_they_are_chosen_by_cause_and_by_time(record_fact: RecordFact, clock: ShopClock) -> None:
    begun = clock.now
    one = dies(record_fact, "loyalty", "ORD-1")
    clock.passes(3600)
    two, refused = dies(record_fact, "loyalty", "ORD-2"), dies(record_fact, "loyalty", "ORD-3", "IntegrityError")

    replay(error="TimeoutError", since=begun + timedelta(seconds=1), **DECIDES)
    assert states(one, two, refused) == ["dead", "pending", "dead"]
    replay(until=begun, **DECIDES)
    assert states(one, two, refused) == ["pending", "pending", "dead"]


def test_the_rate_is_kept_also_by_whoever_comes_second(record_fact: RecordFact, clock: ShopClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail server that has just come back is not met by everybody at once."""
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    first = [dies(record_fact, "loyalty", f"ORD-{n}") for n in range(5)]
    replay(all=True, rate=10.0, **DECIDES)
    second = [dies(record_fact, "loyalty", f"ORD-{n}") for n in range(5, 8)]
    clock.passes(0.05)

    replay(all=True, rate=10.0, **DECIDES)

    waits = [clock.left(one.delivery.wake_at) for one in first + second]
    assert waits == [pytest.approx(n / 10 - 0.05) for n in range(8)]
    clock.passes(0.1)
    assert len(relay.due(discovery.names(), None, relay.after_loss)) == 2


def test_killed_half_way_what_was_recorded_goes_out_and_the_rest_is_replayed_by_the_same_command(
    record_fact: RecordFact, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [dies(record_fact, "loyalty", f"ORD-{n}") for n in range(5)]
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    move, moved = deliveries.move, iter(range(100))

    def killed(*args: Any, **changes: Any) -> None:
        if next(moved) == 3:
            raise KeyboardInterrupt
        move(*args, **changes)

    monkeypatch.setattr(deliveries, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        replay(all=True, **DECIDES)
    assert states(*letters) == ["pending", "pending", "dead", "dead", "dead"]

    replay(all=True, **DECIDES)

    assert states(*letters) == ["pending"] * 5
    assert TimelineEntry.objects.filter(code="replay").count() == 5


def test_a_name_that_no_code_knows_is_left_out_and_says_so(record_fact: RecordFact) -> None:
    owed = dies(record_fact, "survey", "ORD-1")

    with pytest.raises(SystemExit) as refused:
        replay(subscriber="survey", **DECIDES)

    assert "no code knows this subscriber" in str(refused.value.code)
    assert states(owed) == ["dead"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Which dead letters? Give --subscriber, --error, --order, --since or --until; or --all.\n"),
        ({"all": True, "order": "ORD-1"}, "Which dead letters? Give --subscriber, --error, --order, --since or --until; or --all.\n"),
        ({"all": True, "yes": True}, "--yes needs --reason.\n"),
    ],
)
def test_wrong_usage_is_explained(db: None, capsys: pytest.CaptureFixture[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SystemExit) as wrong:
        replay(**options)

    assert (wrong.value.code, capsys.readouterr().err) == (2, message)


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--rate", "0"], ["--rate", "fast"], ["--reason", "…"]])
def test_an_input_that_says_nothing_is_refused(db: None, words: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("replay", "--all", *words)


def test_where_there_is_nothing_it_says_so(record_fact: RecordFact, capsys: pytest.CaptureFixture[str]) -> None:
    record_fact("email").run()

    replay(all=True)
    replay(all=True, **DECIDES)
    with pytest.raises(SystemExit) as no_order:
        replay(order="ORD-77")

    assert capsys.readouterr().out.splitlines() == ["There is no such dead letter. Nothing was done."] * 2
    assert no_order.value.code == "There is no order ORD-77."
    assert Fact.objects.count() == 1
