"""Sagas on which nobody can work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from config.management.commands.sweep import Sweep
from fulfillment import recovery
from fulfillment.engine import Launch
from fulfillment.models import Quarantine


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def plan_is(saga: int, plan: Any) -> None:
    sql("UPDATE fulfillment_saga SET plan = %s WHERE id = %s", json.dumps(plan), saga)


@contextmanager
def held_by_another_session(saga: int) -> Iterator[None]:
    at = {name: value for name, value in connection.get_connection_params().items() if name in ("host", "port", "user", "dbname")}
    with psycopg.connect(**at) as other:
        other.execute("SELECT FROM fulfillment_saga WHERE id = %s FOR UPDATE", [saga])
        yield


def make_inspections_due() -> None:
    """The next inspection at whatever is in quarantine has come."""
    Quarantine.objects.update(inspect_at="2020-01-01T00:00Z")


def rounds(count: int) -> list[str]:
    """What a sweep tells in ``count`` rounds."""
    lines: list[str] = []
    sweep = Sweep(lines.append)
    for _ in range(count):
        make_inspections_due()
        sweep.round()
    sweep.end()
    return lines


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The broker is not this file's business: what would be published, by order."""
    published: list[str] = []

    def launch(what: Launch) -> bool:
        published.append(what.order)
        return True

    monkeypatch.setattr("fulfillment.tasks.launch", launch)
    monkeypatch.setattr("fulfillment.tasks.send_probe", lambda queue, stamp: True)
    monkeypatch.setattr(recovery, "reconciliation_is_due", lambda: False)
    yield published
