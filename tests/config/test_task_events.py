"""Promise: which kinds of tasks Flower is told of can be chosen, and all are told of unless somebody chooses."""

from pathlib import Path
from typing import Any

import pytest

from config.settings import KINDS_OF_TASKS
from config.worker.task_events import TaskEvents, kind_of
from fulfillment import tasks
from sideeffects import tasks as side_effects
from tests.config.bare import Broker, Worker, running
from tests.config.test_round_trips import put_probes
from tests.proofs.black_box.waiting import wait_for


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("fulfillment.payment", "core"),
        ("fulfillment.failed", "core"),
        ("fulfillment.compensate_payment", "compensations"),
        ("fulfillment.probe", "probes"),
        ("sideeffects.probe", "probes"),
        ("sideeffects.email", "sideeffects"),
    ],
)
def test_every_task_is_of_one_kind(task: str, kind: str) -> None:
    assert kind_of(task) == kind


def test_all_tasks_send_events_unless_somebody_chooses() -> None:
    everything = [*tasks.TASKS.values(), tasks.failed, tasks.probe, tasks.dropped, *side_effects.TASKS.values(), side_effects.probe]

    assert {kind_of(task.name) for task in everything} == set(KINDS_OF_TASKS)
    assert [task.name for task in everything if not task.send_events] == []


def test_a_kind_that_is_not_chosen_sends_none(settings: Any) -> None:
    """It is Celery's own attribute of a task."""
    settings.TASK_EVENTS = ["core"]

    sending = {name: TaskEvents().annotate(task)["send_events"] for name, task in tasks.TASKS.items()}

    assert sending == {name: not name.startswith("fulfillment.compensate_") for name in tasks.TASKS}


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("chosen", "sends"), [(",".join(KINDS_OF_TASKS), True), ("core,sideeffects", False)])
def test_a_worker_tells_nobody_of_a_kind_that_is_not_chosen(tmp_path: Path, chosen: str, sends: bool) -> None:
    broker = Broker(tmp_path / "broker")
    heard = broker.client.pubsub()
    heard.psubscribe("/0.celeryev/*")
    try:
        with running(Worker(broker, tmp_path, TASK_EVENTS=chosen)) as worker:
            put_probes(broker, 3)
            wait_for(lambda: len(worker.lines("celery.app.trace", "succeeded")) == 3, 30)
            topics = set()  # while it runs: events are sent a tenth of a second later
            while (message := heard.get_message(timeout=1.0)) is not None:
                topics.add(message["channel"].decode().removeprefix("/0.celeryev/"))
    finally:
        broker.end()

    assert ("task.multi" in topics) is sends
    assert "worker.online" in topics or "worker.heartbeat" in topics
