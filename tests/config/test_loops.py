"""Promise: whatever goes wrong in a round of the sweep or the relay costs that round; one that gets nothing done does not say that it is at work."""

from collections.abc import Callable
from typing import Any

import pytest

from config import loops
from config.management.commands.relay import Relay
from config.management.commands.sweep import Sweep
from fulfillment import recovery
from sideeffects import people, relay

pytestmark = pytest.mark.django_db(transaction=True)
LOOPS = [(Relay, relay.age_s, "sideeffects.registry.relay_round"), (Sweep, recovery.sweep_age_s, "fulfillment.recovery.due")]


def breaks(*_: Any) -> int:
    raise RuntimeError("a mistake in the code")


@pytest.mark.parametrize(("loop", "age_s", "part"), LOOPS, ids=["relay", "sweep"])
def test_a_mistake_in_the_code_ends_no_loop_and_does_not_look_like_work(
    loop: type[loops.Loop], age_s: Callable[[], float | None], part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The process lives, says it once, and doctor sees a loop that does not run."""
    told: list[str] = []
    one = loop(told.append)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(part, breaks)
        assert [one.round() for _ in range(3)] == [0, 0, 0]

    assert [line for line in told if "failed: RuntimeError" in line] == told[:1]
    assert caplog.text.count("Traceback") == 1
    assert age_s() is None

    one.beaten_at = 0.0  # as long after
    one.round()
    one.end()
    assert age_s() is not None


def test_people_are_told_of_deliveries_although_none_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sideeffects.registry.relay_round", breaks)
    monkeypatch.setattr(people, "tell", lambda: asked.append("asked"))

    Relay(lambda _: None).round()

    assert asked == ["asked"]
