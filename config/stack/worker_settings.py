"""How a worker runs: the options of its command, and what Celery is told of it, each with its reason and, where something was measured, its figure.

This is the one place. The commands of the supervisor, Celery's configuration (config/celeryconfig.py), ``manage.py doctor`` and docs/settings.md read it;
tests/stack/test_worker_settings.py compares. What follows from variables (URLs, time limits, waits at the broker) stands in config/settings.py. Imports no Django:
the supervisor starts the database that the settings need.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WorkerSetting:
    """``name``: an option of the command, or a setting under Celery's own name. ``why``: Markdown."""

    name: str
    value: Any
    why: str

    @property
    def words(self) -> str:
        """Of the command line."""
        return self.name if self.value is True else f"{self.name} {self.value}"


POOL = WorkerSetting(
    name="-P",
    value="prefork",
    why="Time limits hold, and a task that hangs or dies takes one process with it. In a pool of threads one hanging subscriber starved the three others after "
    "about four deliveries each",
)
SAGA_PROCESSES = WorkerSetting(
    name="-c",
    value=2,
    why="Worker `saga` of a stack on one machine: a step waits for its provider, and two use both cores of a small machine",
)
SIDE_EFFECT_PROCESSES = WorkerSetting(
    name="-c",
    value=4,
    why="Worker `sideeffects` of a stack on one machine: as many as there are subscribers, because each may wait for somebody",
)
EVERY_WORKER = (
    WorkerSetting(
        name="-E",
        value=True,
        why="Flower shows each task. With one message for each event this cost 1.3 to 1.9 ms of CPU a task; the events of 0.1 s are one message now "
        "(`config/consumer/consumer.py`). `TASK_EVENTS` chooses which kinds of tasks send them",
    ),
    WorkerSetting(name="--without-gossip", value=True, why="No worker of this shop needs to know of another"),
    WorkerSetting(name="--without-mingle", value=True, why="The same. To ask the others costs a second of each start"),
    WorkerSetting(name="-l", value="INFO", why="A line when a task is received, and one when it has ended"),
)
CELERY = (
    WorkerSetting(
        name="result_backend", value=None, why="The journal is the truth: nothing is decided by a result, and an errback needs none"
    ),
    WorkerSetting(name="task_ignore_result", value=True, why="The same"),
    WorkerSetting(name="task_serializer", value="json", why="People can read it, and it can hold no code. Others were not faster"),
    WorkerSetting(name="accept_content", value=["json"], why="The same"),
    WorkerSetting(
        name="task_acks_late",
        value=False,
        why="What dies with its worker is found by a lease or a probe. Acknowledged late, a message that kills its worker comes back for ever "
        "([decision 1](decisions/0001-early-acknowledgement.md))",
    ),
    WorkerSetting(
        name="task_reject_on_worker_lost", value=False, why="One errback, instead of a redelivery for ever, about three times a second"
    ),
    WorkerSetting(
        name="worker_prefetch_multiplier",
        value=1,
        why="No message waits behind a slow step while another process is free. 4 and 16 were not faster",
    ),
    WorkerSetting(
        name="worker_cancel_long_running_tasks_on_connection_loss",
        value=False,
        why="A call to a provider is never killed because the broker is away",
    ),
    WorkerSetting(name="worker_consumer", value="config.consumer.consumer:Consumer", why="It refuses what nobody may handle"),
    WorkerSetting(name="worker_hijack_root_logger", value=True, why="One format for every line"),
    WorkerSetting(
        name="task_annotations", value=("config.worker.task_events.TaskEvents",), why="Which kinds of tasks send events (`TASK_EVENTS`)"
    ),
    WorkerSetting(
        name="task_send_sent_event", value=False, why="Whoever publishes sends no event: the worker's say enough, and events are what costs"
    ),
    WorkerSetting(name="broker_connection_retry_on_startup", value=True, why="A worker that starts before its broker waits for it"),
    WorkerSetting(name="broker_connection_max_retries", value=None, why="It never gives up. Celery's own limit is 100 tries"),
    WorkerSetting(
        name="broker_pool_acquire_timeout",
        value=1.0,
        why="Seconds that a publisher waits for a connection of its own process. Celery's own limit is none",
    ),
    WorkerSetting(
        name="CELERY_DB_REUSE_MAX",
        value=100_000,
        why="A connection to the database is kept across tasks: a new one costs 7 ms, and with one for each task a worker did 133 tasks a second instead of 350. "
        "What has died meanwhile is dropped before a task begins (`orders/connections.py`)",
    ),
)


def worker(queues: str, name: str) -> str:
    """The command of a worker, as an operator types it."""
    return f"python -m config.celery_worker {POOL.words} -Q {queues} -n {name}@%h"


def more(processes: WorkerSetting) -> str:
    """What a stack on one machine adds."""
    return " ".join(setting.words for setting in (processes, *EVERY_WORKER))
