"""Promise: whatever goes wrong in a round of the sweep or the relay costs that round; one that gets nothing done does not say that it is at work."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from config.management import loops
from config.management.commands.relay import Relay
from config.management.commands.sweep import Sweep
from fulfillment import recovery, tasks
from fulfillment.engine import Launch
from sideeffects import incidents, relay
from tests.engines import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
LOOPS = [(Relay, relay.age_s, "sideeffects.relay.run_round"), (Sweep, recovery.sweep_age_s, "fulfillment.recovery.due")]


def breaks(*_: Any) -> int:
    raise RuntimeError("a mistake in the code")


@pytest.mark.parametrize(("loop", "age_s", "part"), LOOPS, ids=["relay", "sweep"])
def test_a_mistake_in_the_code_ends_no_loop_and_does_not_look_like_work(
    loop: type[loops.Loop], age_s: Callable[[], float | None], part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The process lives, says it once, and doctor sees a loop that does not run."""
    lines: list[str] = []
    one = loop(lines.append)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(part, breaks)
        assert [one.round() for _ in range(3)] == [0, 0, 0]

    assert [line for line in lines if "failed: RuntimeError" in line] == lines[:1]
    assert caplog.text.count("Traceback") == 1
    assert age_s() is None

    one.heartbeat_at = 0.0  # as long after
    one.round()
    one.end()
    assert age_s() is not None


def test_a_long_round_keeps_neither_the_circuits_nor_the_probes_from_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of rows that somebody holds: half a second each."""
    now_s = time.monotonic()
    inspected: list[tuple[str, float]] = []

    def held(*asked_by: Any) -> Iterator[list[Any]]:
        nonlocal now_s
        for _ in range(1000):
            now_s += 0.5
            yield []

    def noted(what: str) -> list[Any]:
        inspected.append((what, now_s))
        return []

    sweep = Sweep(lambda _: None)
    monkeypatch.setattr(recovery, "due", held)
    monkeypatch.setattr(recovery, "launch_probes", lambda *_: noted("circuits"))
    monkeypatch.setattr(recovery.probes, "due", lambda: noted("probes"))
    monkeypatch.setattr(recovery, "record_heartbeat", lambda watch: 1)  # it would see that only one of two clocks goes on
    monkeypatch.setattr("config.management.commands.sweep.time.monotonic", lambda: now_s)
    began_s = now_s

    sweep._round()

    for what in ("circuits", "probes"):
        instants = [began_s, *(at for which, at in inspected if which == what), now_s]
        gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
        assert max(gaps) <= 6, what
        assert len(instants) < 110, "and not before each saga"


def launches(monkeypatch: pytest.MonkeyPatch, count: int) -> list[Launch]:
    """What a round of the sweep finds: a page of lost messages."""
    page = [Launch(saga=n, epoch=1, order=f"ORD-{n}", compensating=False, steps=("payment",)) for n in range(1, count + 1)]
    monkeypatch.setattr(recovery, "due", lambda *_: iter([page, page]))
    return page


def test_what_the_broker_does_not_take_of_a_page_is_due_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is offered to it in this round, nor by the page in the next one."""
    page = launches(monkeypatch, 5)
    again: list[Launch] = []
    monkeypatch.setattr(tasks, "launch_all", lambda found: found[3:])
    monkeypatch.setattr(recovery, "not_published", again.append)
    sweep = Sweep(lambda _: None)

    assert sweep._sagas() == 3
    assert again == page[3:]
    assert sweep.memory.was_refused


def test_one_that_cannot_be_published_keeps_none_of_its_page_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    page = launches(monkeypatch, 5)
    published: list[Launch] = []

    def launch(what: Launch) -> bool:
        if what.saga == 2:
            raise KeyError(what.order)
        published.append(what)
        return True

    monkeypatch.setattr(tasks, "launch_all", breaks)
    monkeypatch.setattr(tasks, "launch", launch)
    sweep = Sweep(lambda _: None)

    sweep._sagas()

    assert published == [one for one in page if one.saga != 2] * 2
    assert not sweep.memory.was_refused


def test_people_are_notified_of_deliveries_although_none_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sideeffects.relay.run_round", breaks)
    monkeypatch.setattr(incidents, "refresh", lambda: asked.append("asked"))

    Relay(lambda _: None).round()

    assert asked == ["asked"]


def test_a_loop_loads_nothing_that_answers_a_browser() -> None:
    """It starts in a second, also on the day on which everything is started again. Its checks load what they look at."""
    program = "import sys, django; django.setup(); from config.checks import serious; serious(); print(*{'rest_framework', 'requests'} & set(sys.modules))"
    env = os.environ | {"SAGA_PROCESS": "sweep"}

    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr
