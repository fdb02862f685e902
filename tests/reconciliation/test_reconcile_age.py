"""Promise: a reconciliation does not die silently: doctor and /status tell how old the last one is, and how it ended."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from config import status
from config.management.commands.sweep import Sweep
from fulfillment import recovery
from fulfillment.code_release import RELEASE
from fulfillment.findings import reconciliation as of_reconciliation
from fulfillment.models import Reconciliation, SweepHeartbeat
from fulfillment.reconciliation import reconcile
from orders.models import Order
from orders.turns import Turn
from sideeffects import subscriber_audits
from tests.reconciliation.shop import TOTAL, Shop
from tests.reconciliation.test_explained_money import charge_one, grow_old


@pytest.fixture
def heartbeat_recorded(db: None) -> Iterator[None]:
    recovery.record_heartbeat()
    yield


def level_and_sentence() -> tuple[str, str]:
    """Doctor's level and sentence."""
    (found,) = list(of_reconciliation.reconciliation())
    return found.level, found.found


def numbers() -> dict[str, Any]:
    found = status.numbers()["reconciliation"]
    assert isinstance(found, dict)
    return found


def fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise TypeError("a bug")

    monkeypatch.setattr("fulfillment.reconciliation.shop.judge", broken)
    with pytest.raises(TypeError):
        reconcile(None, True, lambda *_: None, subscriber_audits)


def test_before_the_first_one_is_due_nothing_is_wrong(heartbeat_recorded: None) -> None:
    assert level_and_sentence() == ("ok", "none has come to its end yet (one is due every 6 min)")
    assert numbers() == {"age_s": 0.0, "outcome": None, "findings": None, "unexplained_minor": {}}


def test_one_that_never_begins_is_reported(heartbeat_recorded: None) -> None:
    SweepHeartbeat.objects.update(reconciled_at="2020-01-01T00:00Z")

    assert level_and_sentence()[0] == "FAIL"


def test_one_that_came_to_its_end_is_reported_with_its_counts(shop: Shop, fulfilled: Order) -> None:
    shop.reconcile()

    assert level_and_sentence() == (
        "ok",
        "one came to its end 0.0 s ago (one is due every 6 min): 1 orders judged, 0 open, 0 waiting for a person, 2 provider entries read, "
        "0 findings, 0 repaired",
    )
    assert numbers() == {"age_s": 0.0, "outcome": "whole", "findings": 0, "unexplained_minor": {}}


def test_a_silent_provider_is_reported_as_a_part_that_was_not_compared(shop: Shop, fulfilled: Order) -> None:
    shop.provider.client.close()
    shop.provider.end()

    shop.reconcile()

    assert level_and_sentence()[0] == "warn"
    assert "not everything could be compared" in level_and_sentence()[1]
    assert numbers()["outcome"] == "in_part"
    shop.provider.start()


def test_money_that_nobody_can_explain_is_reported(shop: Shop) -> None:
    charge_one(shop)
    grow_old()

    shop.reconcile()

    assert level_and_sentence()[0] == "warn"
    assert "€84.20 nobody can explain" in level_and_sentence()[1]
    assert numbers()["unexplained_minor"] == {"EUR": TOTAL}


def test_one_that_breaks_is_reported_and_the_last_good_one_keeps_its_age(
    shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.reconcile()
    Reconciliation.objects.update(compared_at=Reconciliation.objects.get().began_at)

    fail(monkeypatch)

    assert level_and_sentence()[0] == "warn"
    assert level_and_sentence()[1].startswith("the last one did not come to its end: TypeError; one came to its end ")
    assert numbers()["outcome"] == "failed"


def test_where_none_has_ever_come_to_its_end_it_is_a_failure(shop: Shop, heartbeat_recorded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch)

    assert level_and_sentence()[0] == "FAIL"


def test_an_old_one_is_a_failure_whatever_became_of_it(shop: Shop, fulfilled: Order, settings: Any) -> None:
    shop.reconcile()
    limit_s = 2 * settings.RECONCILE_EVERY_S + of_reconciliation.MAY_TAKE_S
    now = recovery.not_compared_for_s()
    assert now is not None and now < limit_s
    Reconciliation.objects.update(compared_at="2020-01-01T00:00Z")

    assert level_and_sentence()[0] == "FAIL"


def test_one_that_died_without_a_word_is_reported_once_its_turn_is_over(shop: Shop, heartbeat_recorded: None) -> None:
    """It began, and its process was killed."""
    turn = Turn("reconcile", RELEASE, 60.0)
    assert turn.take()
    recovery.reconciliation_begins()
    assert level_and_sentence() == ("ok", "none has come to its end yet (one is due every 6 min); one is at work")

    turn.give_back()

    assert level_and_sentence()[0] == "FAIL"
    assert numbers()["outcome"] == "failed"


# --- the sweep hears how its child ends ----------------------------------------------------------------------------------


def swept(*command: str) -> tuple[Sweep, list[str]]:
    """A sweep whose reconciliation has ended."""
    lines: list[str] = []
    sweep = Sweep(lines.append)
    sweep.reconciling = subprocess.Popen(command)
    sweep.reconciling.wait(30)
    sweep._reconcile()
    assert sweep.reconciling is None
    return sweep, lines


@pytest.mark.parametrize(
    ("ends", "how"),
    [
        ("raise SystemExit(1)", "ended with exit code 1 before it had begun"),
        ("raise SystemExit(3)", "ended with exit code 3 before it had begun"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9 before it had begun"),
    ],
)
def test_an_exit_code_is_not_dropped(heartbeat_recorded: None, ends: str, how: str) -> None:
    _, lines = swept(sys.executable, "-c", ends)

    assert "did not come to its end: it " + how in lines[0]
    assert level_and_sentence()[0] == "FAIL"
    assert how in level_and_sentence()[1]


def test_one_that_was_killed_at_work_is_reported_while_its_turn_still_runs(heartbeat_recorded: None) -> None:
    lines: list[str] = []
    sweep = Sweep(lines.append)
    sweep.reconciling = child = subprocess.Popen(["/bin/sleep", "60"])
    turn = Turn("reconcile", RELEASE, 60.0)
    turn._values["holder"] = f"here:{child.pid}"
    assert turn.take()
    recovery.reconciliation_begins()
    child.kill()
    child.wait(10)

    sweep._reconcile()

    assert "was ended by signal 9;" in lines[0]
    assert level_and_sentence()[0] == "FAIL"


def test_findings_are_an_end_too(shop: Shop, fulfilled: Order, heartbeat_recorded: None) -> None:
    """Exit 1, and it has said what it found."""
    shop.plant("charge", "ORD-1", "stray")
    shop.reconcile()

    _, lines = swept(sys.executable, "-c", "raise SystemExit(1)")

    assert lines == []
    assert numbers()["outcome"] == "whole"


def test_one_that_gave_way_to_another_is_no_failure(heartbeat_recorded: None) -> None:
    """It stood still, and lost its turn; the other one is at work."""
    assert Turn("reconcile", RELEASE, 60.0).take()
    recovery.reconciliation_begins()

    _, lines = swept(sys.executable, "-c", "raise SystemExit(1)")

    assert lines == []
    assert numbers()["outcome"] == "at_work"
