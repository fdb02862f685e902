"""The Celery app, and what hangs on its signals: pool processes that stay clean, correlation ids that travel, checks that refuse to start.

The reason for each hook: docs/design.md, "The broker".
"""

import logging.config
import os
import sys
from pathlib import Path
from typing import Any

import kombu.transport
from celery import Celery, Task, signals
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from fulfillment.crashpoints import crash_point_of_publish
from orders import tracing

if {"celery", "celery_worker.py"} & set(Path(sys.argv[0]).parts[-2:]):
    os.environ["SAGA_PROCESS"] = "worker"
    try:  # celery's own command line would show a traceback around the sentence
        settings.CELERY_BROKER_URL  # noqa: B018  (the first access reads them all)
    except ImproperlyConfigured as wrong:
        sys.exit(f"Refused to start: {wrong}")

TOKEN = "trace_token"  # where a task's request keeps what leaves its trace again

for scheme, transport in {"redis": "valkey", "rediss": "valkey", "amqp": "amqp"}.items():  # imported when it is used: 0.1 to 0.8 s
    kombu.transport.TRANSPORT_ALIASES[scheme] = f"config.consumer.{transport}:Transport"

app = Celery("shop", task_cls="config.publishing:Task")
app.Task.Request = "config.consumer.request:Request"
app.config_from_object("config.celeryconfig")
app.autodiscover_tasks()


@signals.worker_init.connect(weak=False, dispatch_uid="config.checks")
def refuse_what_checks_refuse(sender: Any, **_: Any) -> None:
    """Celery runs Django's system checks and ignores their result; a worker with wrong wiring must not take messages."""
    from config.checks import refuse_to_start
    from fulfillment.code_release import RELEASE
    from orders.process_registration import Registration

    _answer_without_passwords()
    registration = Registration(sender.hostname, RELEASE)
    registration.begin()
    signals.worker_ready.connect(lambda **_: registration.watch(), weak=False, dispatch_uid="orders.process_registration.watch")

    def end(sender: Any, **_: Any) -> None:
        if not sender.exitcode:  # an error ends a worker in the same order, with another code
            registration.end()

    signals.worker_shutdown.connect(end, weak=False, dispatch_uid="orders.process_registration.end")
    refuse_to_start("worker")


def _answer_without_passwords() -> None:
    """Whatever a worker is asked from outside, by ``celery inspect`` or by Flower. Its URLs stand in more places than Celery itself blots out."""
    from celery.worker.control import Panel

    from config.redaction import redacting

    Panel.data.update({name: redacting(answer) for name, answer in Panel.data.items()})


@signals.import_modules.connect(weak=False, dispatch_uid="config.checks.flower")
def refuse_in_flower_too(**_: Any) -> None:
    """Flower starts no worker: it only loads the tasks. Without a login it would show them to everybody, and let everybody end them."""
    if "flower" not in sys.argv[1:]:
        return
    from tornado.options import options

    from config.checks import refuse_to_start

    refuse_to_start("flower", has_login=bool(options.basic_auth or options.auth))


@signals.before_task_publish.connect(weak=False, dispatch_uid="config.trace.stamp")
def stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Whatever is published inside a task or a request carries that one's correlation id, one hop further."""
    trace = tracing.current()
    if trace is not None and headers is not None:
        headers["x_cid"], headers["x_hops"] = trace.correlation_id, trace.hop + 1


@signals.task_prerun.connect(weak=False, dispatch_uid="config.trace.enter")
def enter(task: "Task[..., Any]", **_: Any) -> None:
    request = task.request
    correlation_id = getattr(request, "x_cid", None) or request.root_id or request.id or ""
    token = tracing.enter(tracing.Trace(correlation_id, int(getattr(request, "x_hops", None) or 0)))
    setattr(request, TOKEN, token)


@signals.task_postrun.connect(weak=False, dispatch_uid="config.trace.leave")
def leave(task: "Task[..., Any]", **_: Any) -> None:
    token = getattr(task.request, TOKEN, None)
    if token is not None:
        tracing.leave(token)


@signals.task_unknown.connect(weak=False, dispatch_uid="config.releases")
def record_what_was_dropped(name: str = "", message: Any = None, **_: Any) -> None:
    """In a rolling deploy a worker meets tasks of a release that is not its own."""
    from fulfillment import tasks

    tasks.report_dropped(name, message)


@signals.worker_process_init.connect(weak=False, dispatch_uid="config.worker.pool_process")
def watch_the_pool_process(**_: Any) -> None:
    from config.worker import pool_process

    pool_process.watch()


@signals.worker_ready.connect(weak=False, dispatch_uid="config.worker.watchdog")
def watch_for_deafness(sender: Any, **_: Any) -> None:
    """In the worker's main process: it hears of every message, and nobody else can tell that it hears none."""
    from config.worker import watchdog

    watching = watchdog.watch(sorted(sender.app.amqp.queues.consume_from), sender.app.tasks.values())
    for arrived in (signals.task_received, signals.task_rejected):
        arrived.connect(lambda **_: watching.heard(), weak=False, dispatch_uid="config.worker.watchdog.heard")


@signals.before_task_publish.connect(weak=False, dispatch_uid="config.crash.before")
def before_publish(sender: str = "", body: Any = None, **_: Any) -> None:
    crash_point_of_publish("before_publish", sender, body)


@signals.after_task_publish.connect(weak=False, dispatch_uid="config.crash.after")
def after_publish(sender: str = "", body: Any = None, **_: Any) -> None:
    crash_point_of_publish("after_publish", sender, body)


@signals.setup_logging.connect(weak=False, dispatch_uid="config.logging")
def keep_our_logging(**_: Any) -> None:
    """The formatters of settings.LOGGING serve the workers too; Celery's own task lines stay at INFO."""
    logging.config.dictConfig(settings.LOGGING)
