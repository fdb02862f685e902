"""Promise: how a worker runs is said once, with a reason: what the page shows is what the supervisor starts, and what Celery is told."""

from typing import Any

import pytest

from config.celery import app
from config.stack import worker_settings
from config.stack.commands import PROCESSES
from config.stack.worker_settings import WorkerSetting
from config.worker.findings import pools
from tests.engines import ROOT

OPTIONS = (
    worker_settings.POOL,
    worker_settings.SAGA_PROCESSES,
    worker_settings.SIDE_EFFECT_PROCESSES,
    *worker_settings.EVERY_WORKER,
)


def row(setting: WorkerSetting) -> str:
    """Of the table in docs/settings.md."""
    value = setting.words if setting.name.startswith("-") else f"{setting.name} = {setting.value!r}"
    return f"| `{value}` | {setting.why} |"


def test_the_page_about_settings_shows_each_with_its_reason() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    section = page.partition("## How a worker runs")[2].partition("\n## ")[0]

    assert [line for line in section.splitlines() if line.startswith("| `")] == [row(one) for one in (*OPTIONS, *worker_settings.CELERY)]


@pytest.mark.parametrize("setting", worker_settings.CELERY, ids=lambda one: one.name)
def test_celery_is_told_so(setting: WorkerSetting) -> None:
    assert app.conf[setting.name] == setting.value


def test_the_supervisor_starts_each_worker_with_them() -> None:
    workers = {role: f"{process.command} {process.here}" for role, process in PROCESSES.items() if process.queues}

    assert set(workers) == {"saga", "sideeffects"}
    for command in workers.values():
        assert [one.words for one in (worker_settings.POOL, *worker_settings.EVERY_WORKER) if f" {one.words}" not in command] == []
    assert worker_settings.SAGA_PROCESSES.words in workers["saga"]
    assert worker_settings.SIDE_EFFECT_PROCESSES.words in workers["sideeffects"]


@pytest.mark.parametrize(
    ("pool", "found"),
    [
        ("celery.concurrency.prefork:TaskPool", []),
        ("celery.concurrency.thread:TaskPool", ["saga@a runs its tasks in celery.concurrency.thread: time limits may not hold there"]),
    ],
)
def test_doctor_names_a_worker_with_another_pool(pool: str, found: list[str]) -> None:
    """Somebody has written a unit file of their own: there a task that hangs is never ended."""
    answers: dict[str, Any] = {"saga@a": {"pool": {"implementation": pool, "max-concurrency": 2}}}

    findings = list(pools(answers))

    assert [finding.found for finding in findings] == found
    assert [finding.to_do for finding in findings] == ["start it with -P prefork"] * len(found)
