"""Promise: each crash point stands at its boundary. Moved, the crash matrix would kill somewhere else, and prove nothing."""

import pytest
from django.db import transaction

from fulfillment import crashpoints, engine, tasks
from fulfillment.models import Saga
from orders.models import Order
from tests.fulfillment.what_others_see.conftest import PAID, RESERVED, SCHEDULED, STARTED, run, stopped, swept
from tests.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def points(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Each boundary that is reached, with what others can see then."""
    points: list[tuple[str, str]] = []

    def reached(boundary: str, step: str, compensating: bool | None) -> None:
        witness.observe()
        points.append((boundary, next(line for line in reversed(witness.saw) if not line.startswith("→"))))

    monkeypatch.setattr(crashpoints, "listener", reached)
    return points


def test_each_crash_point_stands_at_its_boundary(saga: int, witness: Witness, points: list[tuple[str, str]]) -> None:
    with witness.watching():
        for name in ("payment", "inventory"):
            run(saga, name)

    assert points == [
        ("before_start", SCHEDULED), ("after_start", STARTED), ("before_call", STARTED), ("after_call", STARTED),
        ("before_outcome_commit", STARTED), ("after_outcome_commit", PAID),
        ("before_start", PAID), ("before_outcome_commit", PAID), ("after_outcome_commit", RESERVED),
    ]  # fmt: skip


def test_opening_sweep_and_errback_die_before_their_commit(order: Order, witness: Witness, points: list[tuple[str, str]]) -> None:
    with witness.watching():
        with transaction.atomic():
            tasks.start(order)
        saga = Saga.objects.get().pk
        engine.start(saga, 1, "payment", False)
        stopped(saga)
        swept(saga)

    in_doubt = "processing running/2 payment=in_doubt"
    assert [point for point in points if point[0] in ("open", "launch", "failed", "sweep")] == [
        ("open", "placed"), ("launch", SCHEDULED), ("failed", STARTED), ("sweep", in_doubt),
        ("launch", "processing running/3 payment=scheduled"),
    ]  # fmt: skip
