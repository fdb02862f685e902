"""Promise: a bus that takes nothing is told to a person, with a sentence; nothing is lost meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from orders.incidents import Incident
from sideeffects import bus, findings
from sideeffects.bus import lag
from sideeffects.models import BusPosition
from tests.shop_clock import ShopClock
from tests.sideeffects.bus.conftest import NumberedFacts


@pytest.fixture
def behind(numbered: NumberedFacts, clock: ShopClock, settings: Any) -> Callable[[float], None]:
    """Three events wait for it since so many seconds."""
    settings.BUS_URL = "redis://nobody"

    def passes(seconds: float) -> None:
        numbered(3)
        clock.passes(seconds)

    return passes


def incidents() -> list[tuple[str, str, str]]:
    lag.refresh_incident()
    return list(Incident.objects.order_by("pk").values_list("kind", "subject", "state"))


def test_a_person_is_told_once_and_it_is_over_when_it_moves(behind: Callable[[float], None], settings: Any) -> None:
    behind(settings.QUEUE_UNSERVED_LIMIT_S - 1)
    assert incidents() == []
    behind(2)

    assert incidents() == incidents() == [("queue_unserved", "bus", "open")]

    BusPosition.objects.create(name=settings.BUS_NAME, published=6)
    assert incidents() == [("queue_unserved", "bus", "resolved")]


def test_whoever_has_no_bus_hears_nothing(behind: Callable[[float], None], settings: Any) -> None:
    behind(settings.QUEUE_UNSERVED_LIMIT_S + 1)
    settings.BUS_URL = ""

    assert incidents() == []
    assert list(findings.of_bus()) == []


def test_doctor_says_how_many_wait_and_since_when(behind: Callable[[float], None], settings: Any) -> None:
    behind(5)
    [finding] = findings.of_bus()
    assert (finding.level, finding.found) == ("ok", "3 events wait for it")

    behind(3600)
    [finding] = findings.of_bus()
    assert (finding.level, finding.runbook) == ("warn", "docs/runbooks/queue_unserved.md")
    assert finding.found.startswith("6 events wait for it, and it has taken none for ")


def test_a_bus_that_has_just_moved_is_not_late_because_old_events_wait(behind: Callable[[float], None], settings: Any) -> None:
    """It catches up with a long history."""
    behind(settings.QUEUE_UNSERVED_LIMIT_S * 2)
    BusPosition.objects.create(name=settings.BUS_NAME, published=1)

    assert lag.stands_still_for_s() < 1
    assert incidents() == []


def test_a_round_says_when_it_moved(behind: Callable[[float], None], settings: Any) -> None:
    class Takes:
        def newest(self) -> None: ...
        def publish(self, facts: Any) -> None: ...

    BusPosition.objects.create(name=settings.BUS_NAME, published=0)
    behind(settings.QUEUE_UNSERVED_LIMIT_S * 2)
    assert incidents() == [("queue_unserved", "bus", "open")]

    assert bus.run_round(Takes(), lambda: True) == 3  # type: ignore[arg-type]

    assert incidents() == [("queue_unserved", "bus", "resolved")]
