"""Promise: a storm that leaves money which nobody can explain has not held."""

from pathlib import Path
from typing import Any

import pytest

from tests.proofs.storms.checks import money
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import SMALL
from tests.proofs.storms.storm import Storm

NOTHING = {"earned": 0, "given_back": 0, "in_flight": 0, "at_risk": 0, "unexplained": 0}


class Seen:
    """Reports in the order in which they are asked for, the last one again and again; and what the provider took."""

    def __init__(self, *places: dict[str, int], taken: int) -> None:
        self.reports = [{"findings": [], "money": {"EUR": NOTHING | {"captured": sum(one.values())} | one}} for one in places]
        self.taken = taken

    def reconcile(self) -> tuple[int, dict[str, Any]]:
        return 0, self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]

    def effects(self) -> list[dict[str, Any]]:
        one = {"operation": "charge", "amount": self.taken, "currency": "EUR"}
        return [one, {"operation": "refund", "amount": 7, "currency": "EUR"}, {"operation": "label", "amount": None, "currency": None}]


def breaches(tmp_path: Path, seen: Seen, lies: bool = False) -> list[str]:
    scenario = Scenario(name="calm", promise="", happens=lambda _: None, sizes={SMALL: {}}, minutes={SMALL: 0}, lies=lies)
    storm = Storm(scenario, SMALL, 1, tmp_path, lambda *_: None)
    storm._shop = seen  # type: ignore[assignment]
    money.money_is_explained(storm)
    return storm.breaches


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "WITHIN_S", 0.1)


def test_what_is_explained_is_no_breach(tmp_path: Path) -> None:
    assert breaches(tmp_path, Seen({"earned": 100, "given_back": 50, "at_risk": 7}, taken=157)) == []


def test_what_is_explained_soon_enough_is_no_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "WITHIN_S", 20.0)

    assert breaches(tmp_path, Seen({"unexplained": 100}, {"given_back": 100}, taken=100)) == []


def test_what_stays_unexplained_is_a_breach(tmp_path: Path) -> None:
    assert breaches(tmp_path, Seen({"earned": 100, "unexplained": 8}, taken=108)) == ["nobody can explain 8 EUR (minor units)"]


def test_money_in_two_places_is_a_breach(tmp_path: Path) -> None:
    (breach,) = breaches(tmp_path, Seen({"earned": 100, "given_back": 50, "captured": 120}, taken=120))

    assert breach.startswith("EUR is in more than one place, or in none")


@pytest.mark.parametrize(("lies", "count"), [(False, 1), (True, 0)])
def test_the_sum_is_what_the_provider_took(tmp_path: Path, lies: bool, count: int) -> None:
    breach = breaches(tmp_path, Seen({"earned": 100}, taken=142), lies)

    assert breach == ["explained is {'EUR': 100}, and the provider took {'EUR': 142} (minor units)"] * count
