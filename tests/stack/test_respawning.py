"""Promise: a process that dies is started again at once, and one that dies at once more and more slowly."""

import pytest

from config.stack.respawning import DELAY_CAP_S, LIVED_S, Respawning


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    instant = [100.0]
    monkeypatch.setattr("config.stack.respawning.time.monotonic", lambda: instant[0])
    return instant


def test_whoever_has_lived_is_started_at_once(now: list[float]) -> None:
    respawning = Respawning()

    assert respawning.notes_death("saga", LIVED_S + 1)
    assert respawning.takes("saga")


def test_whoever_dies_at_once_waits_longer_each_time_up_to_a_bound(now: list[float]) -> None:
    """A worker with a broken setting does not fill my disk with its log."""
    respawning, waits = Respawning(), []
    for _ in range(8):
        assert respawning.notes_death("saga", 0.1)
        waits.append(respawning.delay_s("saga"))
        assert not respawning.takes("saga")
        now[0] += respawning.delay_s("saga")
        assert respawning.takes("saga")

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, DELAY_CAP_S, DELAY_CAP_S, DELAY_CAP_S]


def test_a_death_is_reported_once_and_each_role_has_its_own_wait(now: list[float]) -> None:
    respawning = Respawning()

    assert [respawning.notes_death("saga", 0.1) for _ in range(3)] == [True, False, False]
    assert respawning.notes_death("web", LIVED_S + 1)
    assert (respawning.takes("web"), respawning.takes("saga")) == (True, False)
