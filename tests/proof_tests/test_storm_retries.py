"""Promise: a storm in which one key has placed two orders, or none, or another than the client was told, has not held."""

from pathlib import Path

import pytest

from tests.proofs.storms.client_history import Exchange
from tests.proofs.storms.scenarios.retries import Wish, heard, there_is_one_order_for_each_key
from tests.proofs.storms.spec import SMALL, ScenarioSpec
from tests.proofs.storms.storm import Storm

TOLD = ["ORD-1", "ORD-1", "ORD-1"]


class Database:
    """Its orders, each with the key under which it was placed."""

    def __init__(self, *orders: tuple[str, str]) -> None:
        self.orders = orders

    def sql(self, _: str) -> list[tuple[str, str]]:
        return list(self.orders)


@pytest.fixture
def storm(tmp_path: Path) -> Storm:
    return Storm(ScenarioSpec(name="calm", promise="", sizes={SMALL: {}}, minutes={SMALL: 0}), SMALL, 1, tmp_path, lambda *_: None)


@pytest.mark.parametrize(
    ("orders", "answers", "breach"),
    [
        ([("key", "ORD-1")], TOLD, ""),
        ([("key", "ORD-1"), ("key", "ORD-2")], TOLD, "1 keys have no order, or several: key"),
        ([], TOLD, "1 keys have no order, or several: key"),
        ([("key", "ORD-1")], ["ORD-1", "ORD-1"], "1 keys were not answered three times with it: key"),
        ([("key", "ORD-1")], ["ORD-1", "ORD-1", "ORD-2"], "1 keys were not answered three times with it: key"),
        ([("key", "ORD-1"), ("another", "ORD-2")], TOLD, "1 orders have a key that nobody has sent: another"),
    ],
    ids=["as it must be", "two orders", "none", "asked twice only", "told of another one", "a key that nobody has sent"],
)
def test_one_key_is_one_order(storm: Storm, orders: list[tuple[str, str]], answers: list[str], breach: str) -> None:
    """However often I ask, I have ordered once, and was told so each time."""
    storm._shop = database = Database(*orders)  # type: ignore[assignment]

    there_is_one_order_for_each_key(storm, [Wish(client=database, quantity=1, key="key", answers=answers)])  # type: ignore[arg-type]

    assert (storm.breaches[0] if breach else storm.breaches) == (breach or [])


@pytest.mark.parametrize("status", [500, 409, 422, 429])
def test_whoever_asks_again_is_answered_201_or_503(storm: Storm, status: int) -> None:
    """My retries are never turned back, not even as too many."""
    answers = [Exchange(method="POST", path="/api/v1/orders", key="key", begun=0, ended=1, status=one) for one in (201, 503, None, status)]

    heard(storm, answers)

    assert storm.breaches == [f"clients were answered {{201: 1, 503: 1, {status}: 1}}"]
