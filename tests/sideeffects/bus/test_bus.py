"""Promise: programs outside hear of every event that was committed, at least once, in the order of each order's events, whatever happens to the bus."""

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from orders import operators
from orders.facts import Fact
from sideeffects import bus
from sideeffects.bus.envelope import envelope
from sideeffects.bus.kind import Received, matches
from sideeffects.models import BusPosition
from tests.config.bare import Broker, RabbitBroker
from tests.proofs.black_box.waiting import wait_for
from tests.sideeffects.bus.conftest import NumberedFacts

pytestmark = pytest.mark.processes

QUIET = 3  # times in which nothing comes


def always() -> bool:
    return True


class Reader:
    """A program outside: what it has got, in the order in which it came. It reads from before the first event on."""

    def __init__(self, pattern: str = "#", queue: str = "") -> None:
        self.arriving = bus.connect().receive(pattern, 0, queue)
        self.begun = [next(self.arriving)]  # its queue is there now

    def __call__(self) -> list[int]:
        return [one.number for one in self.whole()]

    def whole(self) -> list[Received]:
        """Until nothing comes any more."""
        return list(itertools.takewhile(lambda one: one is not None, self._with_patience()))  # type: ignore[arg-type]

    def _with_patience(self) -> Iterator[Received | None]:
        quiet = 0
        for one in itertools.chain(filter(None, self.begun), self.arriving):
            quiet = quiet + 1 if one is None else 0
            if one is not None or quiet >= QUIET:
                yield one


def all_of(facts: list[Fact]) -> list[int]:
    return [fact.number or 0 for fact in facts]


def test_a_reader_gets_every_event_once_in_order(on_a_bus: bus.Bus, numbered: NumberedFacts) -> None:
    bus.run_round(on_a_bus, always)  # it has begun
    reader = Reader()
    first, second = numbered(3), numbered(2)

    assert bus.run_round(on_a_bus, always) == 5
    assert bus.run_round(on_a_bus, always) == 0

    assert reader() == all_of(first + second)


def test_what_arrives_is_a_cloud_event_with_the_position_and_the_payload(on_a_bus: bus.Bus, numbered: NumberedFacts) -> None:
    bus.run_round(on_a_bus, always)
    reader = Reader()
    [fact] = numbered(1)
    bus.run_round(on_a_bus, always)

    [got] = reader.whole()

    assert got.envelope == envelope(fact) | {"data": fact.payload}
    assert got.envelope["specversion"] == "1.0"
    assert (got.envelope["id"], got.envelope["type"]) == (str(fact.pk), "order.fulfilled")
    assert int(got.envelope["sequence"]) == got.number == fact.number
    assert "amara" not in json.dumps(got.envelope).lower()


def test_a_batch_whose_position_was_lost_is_sent_again_and_nothing_is_missed(on_a_bus: bus.Bus, numbered: NumberedFacts) -> None:
    """The relay was killed after the bus had taken it."""
    bus.run_round(on_a_bus, always)
    reader, facts = Reader(), numbered(4)
    bus.run_round(on_a_bus, always)
    BusPosition.objects.update(published=(facts[1].number or 0))

    bus.run_round(on_a_bus, always)

    got = reader()
    assert sorted(set(got)) == all_of(facts)
    assert list(dict.fromkeys(got)) == all_of(facts), "the first time of each is in order"


def test_a_pattern_leaves_out_the_others(on_a_bus: bus.Bus, numbered: NumberedFacts) -> None:
    bus.run_round(on_a_bus, always)
    of_orders, of_payments = Reader("order.*"), Reader("payment.*")
    facts = numbered(2)
    bus.run_round(on_a_bus, always)

    assert of_orders() == all_of(facts)
    assert of_payments() == []


def test_somebody_may_ask_for_all_of_it_once_more(
    on_a_bus: bus.Bus, numbered: NumberedFacts, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bus.run_round(on_a_bus, always)
    facts = numbered(4)
    bus.run_round(on_a_bus, always)
    reader = Reader()
    reader()

    call_command("bus", again_from=facts[2].number)
    assert "2 events" in capsys.readouterr().out and bus.run_round(on_a_bus, always) == 0
    with pytest.raises(SystemExit):
        call_command("bus", again_from=facts[2].number, yes=True)
    assert bus.run_round(on_a_bus, always) == 0, "nobody has said who they are"
    amara = User.objects.create_superuser("amara")
    settings.OPERATOR_TOKEN = operators.issue(amara)
    call_command("bus", again_from=facts[2].number, yes=True)
    assert BusPosition.objects.get().asked_by == "amara"

    assert bus.run_round(on_a_bus, always) == 2
    assert bus.run_round(on_a_bus, always) == 0
    again = Reader() if on_a_bus.newest() is not None else reader
    assert again() == all_of(facts[2:])


def test_a_stream_that_was_wiped_is_filled_again_by_itself(on_valkey: bus.Bus, valkey: Broker, numbered: NumberedFacts) -> None:
    facts = numbered(3)
    bus.run_round(on_valkey, always)
    valkey.client.flushall()

    assert bus.run_round(on_valkey, always) == 3
    assert Reader()() == all_of(facts)


def test_a_stream_keeps_the_newest(on_valkey: bus.Bus, numbered: NumberedFacts, valkey: Broker, settings: Any) -> None:
    """It may keep a few more: whole pieces are dropped."""
    settings.BUS_KEEPS = 10
    small = bus.connect()
    facts = numbered(300)
    while bus.run_round(small, always):
        pass

    kept = valkey.client.xlen(settings.BUS_NAME)
    assert kept < 150 and Reader()()[-1] == facts[-1].number


def test_a_database_that_is_older_than_the_bus_stops_it_with_a_sentence(on_valkey: bus.Bus, numbered: NumberedFacts) -> None:
    """It was restored: its next events would have the numbers of others."""
    facts = numbered(3)
    bus.run_round(on_valkey, always)
    Fact.objects.filter(pk=facts[-1].pk).update(number=None)

    with pytest.raises(bus.BusTrouble, match=r"events up to \d+, and the database only up to \d+"):
        bus.run_round(on_valkey, always)


def test_a_broker_that_is_down_for_a_while_costs_no_event(numbered: NumberedFacts, rabbit: RabbitBroker, settings: Any) -> None:
    """RabbitMQ comes back with what it had; meanwhile each round fails with a sentence."""
    settings.BUS_URL, settings.BUS_NAME = rabbit.url, "events.down"
    on_rabbit = bus.connect()
    bus.run_round(on_rabbit, always)
    Reader(queue="kept")
    facts = numbered(50)
    bus.run_round(on_rabbit, always)
    rabbit.control("stop_app")
    try:
        more = numbered(50)
        with pytest.raises(bus.BusTrouble):
            bus.run_round(on_rabbit, always)
    finally:
        rabbit.control("start_app")
    wait_for(lambda: _goes(on_rabbit), 60, every_s=0.5)

    assert list(dict.fromkeys(Reader(queue="kept")())) == all_of(facts + more)


def _goes(on: bus.Bus) -> bool:
    with suppress(bus.BusTrouble):
        bus.run_round(on, always)
        return True
    return False


def test_a_bus_that_is_away_fails_within_seconds(db: None, settings: Any, tmp_path: Any, numbered: NumberedFacts) -> None:
    numbered(1)
    for url in (f"redis+socket://{tmp_path}/nobody", "amqp://guest:guest@127.0.0.1:9//"):
        settings.BUS_URL, settings.BUS_NAME = url, url[:5]
        BusPosition.objects.create(name=settings.BUS_NAME)

        with pytest.raises(bus.BusTrouble, match="the bus"):
            bus.run_round(bus.connect(), always)


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("order.*", ["order.fulfilled"], ["order", "payment.refunded", "order.a.b"]),
        ("#", ["order.fulfilled", "a", "a.b.c"], []),
        ("payment.#", ["payment.refunded", "payment.refund.requested", "payment"], ["order.fulfilled", "payments.x"]),
        ("#.failed", ["payment.failed", "failed", "a.b.failed"], ["payment.failed.x", "payment.xfailed"]),
        ("order.fulfilled", ["order.fulfilled"], ["order.fulfilled.x", "orderxfulfilled"]),
        ("*.*", ["a.b"], ["a", "a.b.c"]),
    ],
)
def test_patterns_are_those_of_amqp(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    assert [one for one in meant + not_meant if matches(pattern, one)] == meant
