"""Promise: a queue that nobody serves is reported to a person, once, however long it lasts; and taken back once it is served."""

import time
from datetime import datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.management.commands.sweep import Sweep
from fulfillment import recovery, tasks
from orders import queue_probes
from orders.incidents import Incident
from orders.queue_probes import QueueProbe
from sideeffects import relay
from sideeffects import tasks as side_effects
from tests.shop_clock import ShopClock

CORE_S, SIDE_EFFECTS_S = 311.0, 3613.0


@pytest.fixture(autouse=True)
def limits(db: None, settings: Any) -> None:
    settings.CORE_QUEUE_UNSERVED_LIMIT_S, settings.QUEUE_UNSERVED_LIMIT_S = CORE_S, SIDE_EFFECTS_S


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues into which a probe was put: none comes out by itself."""
    found: list[str] = []

    def send(queue: str, stamp: datetime) -> bool:
        found.append(queue)
        return True

    monkeypatch.setattr(tasks, "send_probe", send)
    monkeypatch.setattr(side_effects.probe, "apply_async", lambda **_: found.append("sideeffects"))
    monkeypatch.setattr(side_effects, "_probes", queue_probes.Probes())
    recovery.probes._wanted.clear()
    return found


def incidents() -> list[tuple[str, str, str]]:
    return list(Incident.objects.filter(kind="queue_unserved").order_by("id").values_list("subject", "state", "outcome"))


def asked(queue: str) -> None:
    """A probe was put in, and nobody has read it yet."""
    asking = queue_probes.Probes()
    asking.want(queue)
    assert asking.due()


def sweep_round() -> None:
    Sweep(lambda _: None)._round()


def relay_round() -> None:
    relay.run_round(lambda: True)


CASES = [("saga", CORE_S, sweep_round), ("compensation", CORE_S, sweep_round), ("sideeffects", SIDE_EFFECTS_S, relay_round)]


@pytest.mark.parametrize(("queue", "limit_s", "one_round"), CASES)
def test_a_person_is_notified_once_and_the_incident_is_resolved(
    queue: str, limit_s: float, one_round: Any, clock: ShopClock, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(queue)
    clock.passes(limit_s)
    one_round()
    assert incidents() == []

    clock.passes(1)
    for _ in range(3):
        one_round()
        clock.passes(60)

    assert incidents() == [(queue, "open", "")]
    assert Incident.objects.get().sentence == (
        f"A queue is not served in time (what was put into “{queue}” at 2027-01-04 09:00 UTC has not come out yet:"
        " no worker serves it, or they do not get that far). No money is at risk."
    )
    call_command("incidents")
    assert "queue_unserved · 1 queue · no money at risk" in capsys.readouterr().out

    queue_probes.probe_came_out(queue, clock.now)
    one_round()
    assert incidents() == [(queue, "resolved", "served")]


def test_each_loop_opens_incidents_of_its_own_queues_alone(clock: ShopClock) -> None:
    for queue in ("saga", "compensation", "sideeffects", "somebody_elses"):
        asked(queue)
    clock.passes(SIDE_EFFECTS_S + 1)

    sweep_round()
    assert [subject for subject, _, _ in incidents()] == ["compensation", "saga"]
    relay_round()
    assert [subject for subject, _, _ in incidents()] == ["compensation", "saga", "sideeffects"]


@pytest.mark.parametrize(("queue", "limit_s", "one_round"), CASES)
def test_it_is_asked_after_until_it_is_served_again(
    queue: str, limit_s: float, one_round: Any, sent: list[str], settings: Any, clock: ShopClock
) -> None:
    """Nothing else waits for it, and the broker has lost the probe: the incident would stay for ever."""
    asked(queue)
    clock.passes(limit_s + 1)
    one_round()
    sent.clear()
    clock.passes(settings.PROBE_CAP_S + 1)

    one_round()
    one_round()

    assert sent == [queue]


def test_a_clock_that_jumps_makes_no_queue_look_unserved(clock: ShopClock) -> None:
    asked("saga")
    clock.passes(20)
    recovery.move_with_the_clock(recovery.Jump(clock_jumps(clock, 7200), time.monotonic() - 1))

    sweep_round()
    assert incidents() == []

    clock.passes(CORE_S)
    sweep_round()
    assert incidents() == [("saga", "open", "")]


def clock_jumps(clock: ShopClock, by_s: float) -> float:
    clock.passes(by_s)
    return by_s


def test_an_idle_round_writes_nothing_about_it(clock: ShopClock) -> None:
    """Nor does one in which it was reported already."""
    asked("saga")
    clock.passes(CORE_S + 1)
    sweep_round()
    with CaptureQueriesContext(connection) as ran:
        recovery.probes.open_incidents_of_unserved(recovery.QUEUES, CORE_S)

    assert [query["sql"].split()[0] for query in ran] == ["SELECT", "SELECT"]
    assert QueueProbe.objects.get().queue == "saga"
