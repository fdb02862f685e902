"""Celery's entry point into the core: one named task for each step and each compensation, the errback, and the two functions that publish.

A message carries (saga, epoch, order number) and no state: it only says that there may be something to do. A task starts the step
(engine), calls the provider, and records the outcome (engine). With CHAIN_COLLAPSE the steps that follow in its chain run in the same task
(docs/decisions/0033-steps-of-one-queue-may-share-a-task.md).
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import Task, current_app, shared_task
from celery.canvas import Signature
from celery.exceptions import OperationalError
from django.conf import settings
from django.db import transaction
from kombu.exceptions import BatchPublishError  # type: ignore[attr-defined]  # new in 5.7

from fulfillment import engine, recovery
from fulfillment.clock import lease_s
from fulfillment.code_release import RELEASE
from fulfillment.crashpoints import crash_point
from fulfillment.engine import Claim, Launch, Recorded
from fulfillment.errors import Rejected, StepError, UnknownStep
from fulfillment.gateways.lease import Lease
from fulfillment.own_database import insist, putting_off
from fulfillment.provider_call import call_provider
from fulfillment.steps import STEPS, known
from fulfillment.task_messages import MESSAGE, malformed, named_arguments
from orders import tracing
from orders.database import is_our_trouble
from orders.models import Order
from orders.queue_probes import probe_came_out, stamp_of

log = logging.getLogger(__name__)


def start(order: Order) -> None:
    """Begin the fulfilment of an order, in the transaction that creates it. The saga commits together with the order; the chain is published on commit."""
    opened = engine.open_saga(order)
    transaction.on_commit(lambda: launch(opened), robust=True)


def launch(what: Launch | None) -> bool:
    """Publish what is left as one chain, best effort. False: the broker did not take it, and the sweep publishes it when the saga is due."""
    if what is None:
        return True
    crash_point("launch", what.order, compensating=what.compensating)
    try:
        publish(what)
    except (OperationalError, OSError) as down:
        log.warning("The chain of %s was not published, the sweep will: %s", what.order, down)
        return False
    return True


def launch_all(found: list[Launch]) -> list[Launch]:
    """Publish each as ``launch`` does, all of them in one round trip where the broker can do that (Valkey). Returns those that it did not take."""
    for what in found:
        crash_point("launch", what.order, compensating=what.compensating)
    with current_app.producer_or_acquire() as producer:
        if producer.supports_batch_publish:
            try:
                with producer.batch():
                    return _publish_each(found, producer)
            except (
                BatchPublishError
            ) as failed:  # nobody knows whether the broker took them; the second message of a step finds nothing to start
                log.warning("%d chains are published one by one: %s", len(found), failed.__cause__)
        return _publish_each(found, producer)


def _publish_each(found: list[Launch], producer: Any) -> list[Launch]:
    for place, what in enumerate(found):
        try:
            publish(what, producer)
        except (OperationalError, OSError) as down:
            log.warning("%d chains were not published, the sweep will: %s", len(found) - place, down)
            return found[place:]
    return []


def publish(what: Launch, producer: Any = None) -> None:
    """One chain, each task with its errback. Raises OperationalError, OSError: the broker did not take it.

    The first task is told what follows, as Celery tells each task of a chain. Celery's ``chain`` makes the same message, with half as many calls again.
    """
    first, *rest = signatures(what)
    with tracing.continued(what.correlation_id):
        first.apply_async(chain=rest[::-1], producer=producer)


def send_probe(queue: str, stamp: datetime) -> bool:
    """Put a stamp into ``queue``. False: the broker did not take it."""
    try:
        probe.si(queue=queue, stamp=stamp.isoformat()).set(queue=queue, task_id=f"probe.{queue}.{stamp:%H%M%S.%f}").apply_async()
    except (OperationalError, OSError) as down:
        log.warning("A probe of queue %s was not published: %s", queue, down)
        return False
    return True


@shared_task(name="fulfillment.probe")
def probe(*unnamed: Any, **message: Any) -> str:
    """A probe has come out of its queue: whatever was published before it, and has not started, is lost."""
    if wrong := malformed(unnamed, message, {"queue": str, "stamp": str}):
        return _refuse("fulfillment.probe", wrong)
    stamp = stamp_of(message["stamp"])
    if stamp is None:
        return _refuse("fulfillment.probe", "stamp is no instant with a time zone")
    probe_came_out(message["queue"], stamp)
    return f"{message['queue']} is consumed"


def signatures(what: Launch) -> list[Signature]:
    prefix = "compensate_" if what.compensating else ""
    return [
        TASKS[f"fulfillment.{prefix}{name}"]
        .si(saga=what.saga, epoch=what.epoch, order=what.order)
        .set(task_id=f"{what.order}.{prefix}{name}.{what.run}", link_error=[errback(what)])
        for name in what.steps
    ]


def errback(what: Launch) -> Signature:
    """The errback of a chain. It is a bound task, because any other kind would run inside the failing process, and not through a queue."""
    return failed.si(saga=what.saga, epoch=what.epoch, order=what.order).set(task_id=f"{what.order}.failed.{what.run}")


@shared_task(name="fulfillment.failed", bind=True)
def failed(self: "Task[..., str]", *unnamed: Any, **message: Any) -> str:
    """The chain has stopped here, for whatever reason. The engine reads the journal, and then acts."""
    if wrong := malformed(unnamed, message):
        return _refuse(self.name, wrong)
    try:
        follow = engine.chain_stopped(message["saga"], message["epoch"])
    except Exception as trouble:
        if not is_our_trouble(trouble):
            raise
        return f"{message['order']}: not noted, the sweep inspects it: {type(trouble).__name__}"
    launch(follow)
    return f"{message['order']}: {'launched ' + ', '.join(follow.steps) if follow else 'noted'}"


@shared_task(name="fulfillment.dropped")
def dropped(*unnamed: Any, **message: Any) -> str:
    """A worker of ``release`` has met ``task`` of this saga and does not know it. If this code does, it is published again at once; else when the saga is due."""
    if wrong := malformed(unnamed, message, MESSAGE | {"task": str, "release": int}):
        return _refuse("fulfillment.dropped", wrong)
    follow = engine.message_dropped(message["saga"], message["epoch"], message["task"], message["release"])
    if follow is not None and not launch(follow):
        recovery.not_published(follow)
    return f"{message['order']}: {'launched ' + ', '.join(follow.steps) if follow else 'noted'}"


def report_dropped(name: str, message: Any) -> None:
    """Celery has dropped a task whose name this code does not know, without an errback. If it was one of ours, a task reports it, so that it is published again."""
    package, _, task = name.rpartition(".")
    named = named_arguments(message)
    if package != "fulfillment" or named is None or malformed((), named):
        return
    report = dropped.si(**named, task=task, release=RELEASE).set(task_id=f"{named['order']}.dropped.e{named['epoch']}")
    try:
        report.apply_async()
    except (OperationalError, OSError) as down:
        log.warning("That %s of %s was dropped is not reported, a probe will find out: %s", task, named["order"], down)


def _refuse(task: str, wrong: str) -> str:
    """Refuse the message. Nothing is stranded by that: if a saga needs this step, the sweep publishes a message of its own."""
    log.error("%s: message refused: %s", task, wrong)
    return f"refused: {wrong}"


@dataclass(frozen=True)
class _Work:
    """What a task is named after: a step, or its compensation."""

    name: str
    compensating: bool
    is_local: bool


def _work_off(task: "Task[..., str]", message: dict[str, Any]) -> str:
    """The step of this task. Then, with CHAIN_COLLAPSE, what follows in its chain and may run here: each as if it had come by a message of its own."""
    began = time.monotonic()
    result = _one(task, WORK[task.name], message, began)
    while (following := _taken_from_the_chain(task, message, began)) is not None:
        log.info("%s: %s follows in the task of %s", message["order"], following.name, task.name)
        result += _one(task, following, message, began).removeprefix(message["order"]).replace(":", ",", 1)
    return result


def _taken_from_the_chain(task: Any, message: dict[str, Any], began: float) -> _Work | None:
    """What follows, where its queue is that of ``task``, and where as much of the task's time is left as a call may take. None: Celery publishes it, as always."""
    left_s = settings.TASK_SOFT_LIMIT_S - (time.monotonic() - began)
    if not settings.CHAIN_COLLAPSE or not task.request.chain or left_s < settings.CALL_DEADLINE_S:
        return None
    *rest, following = task.request.chain
    work = WORK.get(following["task"])
    if work is None or following["args"] or following["kwargs"] != message or _queue(task, following["task"]) != _queue(task, task.name):
        return None
    crash_point("before_publish", message["order"], work.name, compensating=work.compensating)
    task.request.chain = rest
    crash_point("after_publish", message["order"], work.name, compensating=work.compensating)
    return work


def _queue(task: Any, name: str) -> str:
    return str(task.app.amqp.router.route({}, name)["queue"].name)


def _one(task: "Task[..., str]", work: _Work, message: dict[str, Any], began: float) -> str:
    """One step or compensation. ``began``: when the task did, by the monotonic clock; its limits count from then."""
    with putting_off(message["saga"], message["epoch"], work.name, work.compensating):
        if work.is_local:
            return _run_local(task, work.name, work.compensating, **message)
        return _run(task, work.name, work.compensating, began, **message)
    return _end(task, f"{message['order']}: {work.name} waits for our own database")


def _run(task: "Task[..., str]", name: str, compensating: bool, began: float, saga: int, epoch: int, order: str) -> str:
    lease = Lease.begin(lease_s())
    try:
        claim = engine.start(saga, epoch, name, compensating, order)
    except UnknownStep as other:
        engine.message_dropped(saga, epoch, f"compensate_{name}" if compensating else name)
        return _end(task, f"{order}: left to a process of another release: {other}")
    if claim is None:
        return _nothing_to_start(task, saga, epoch, order)
    with putting_off(saga, epoch, name, compensating, claim.claim):
        return _try(task, claim, lease, began)
    return _end(task, f"{order}: what became of {name} could not be written; it waits for our own database")


def _try(task: "Task[..., str]", claim: Claim, lease: Lease, began: float) -> str:
    """The provider call, then its outcome is recorded, then what the engine says follows."""
    name, order = claim.name, claim.order
    step = known(name, claim.version)
    assert step is not None  # or the start would have refused
    outcome = call_provider(step, claim, lease)
    if isinstance(outcome, StepError):
        return _record_failure(task, claim, began, outcome)
    recorded = insist(claim, began, lambda: engine.record_success(claim, outcome))
    if not recorded.mine:
        return _end(task, f"{order}: too late, somebody else owns {name}")
    return _go_on(task, recorded, f"{order}: {name} {'undone' if claim.compensating else 'done'}")


def _run_local(task: "Task[..., str]", name: str, compensating: bool, saga: int, epoch: int, order: str) -> str:
    try:
        recorded = engine.run_local(saga, epoch, name, compensating, order)
    except Rejected:
        raise
    except StepError as error:
        return _end(task, f"{order}: {error}")
    if not recorded.mine:
        return _nothing_to_start(task, saga, epoch, order)
    return _go_on(task, recorded, f"{order}: {name} {'undone' if compensating else 'done'}")


def _record_failure(task: "Task[..., str]", claim: Claim, began: float, error: StepError) -> str:
    order = claim.order
    recorded = insist(claim, began, lambda: engine.record_failure(claim, error))
    if not recorded.mine:
        return _end(task, f"{order}: too late, somebody else owns {claim.name}")
    if isinstance(error, Rejected) and not claim.compensating:
        raise error  # ends the chain through its errback, which turns the saga back
    launch(recorded.turned)
    return _end(task, f"{order}: {claim.name}: {error}")


def _nothing_to_start(task: "Task[..., str]", saga: int, epoch: int, order: str) -> str:
    launch(engine.could_not_start(saga, epoch))
    return _end(task, f"{order}: nothing to do here")


def _go_on(task: "Task[..., str]", recorded: Recorded, result: str) -> str:
    """The chain goes on by itself. Where the saga has left its path (it turned back, or a compensation failed), what follows is launched here."""
    if recorded.turned is None:
        return result
    launch(recorded.turned)
    return _end(task, result)


def _end(task: "Task[..., str]", result: str) -> str:
    """Nothing follows in this chain. What is left to do has its wake_at."""
    task.request.chain = None
    return result


def _define(name: str) -> "Task[..., str]":
    @shared_task(name=name, bind=True, throws=(Rejected,))
    def task(self: "Task[..., str]", *unnamed: Any, **message: Any) -> str:
        if wrong := malformed(unnamed, message):
            return _end(self, _refuse(self.name, wrong))
        return _work_off(self, message)

    return task


# Under its earlier names too, for sagas in flight.
WORK = {
    f"fulfillment.{'compensate_' if compensating else ''}{name}": _Work(name, compensating, step.local)
    for step in STEPS
    for name in (step.name, *step.formerly)
    for compensating in (False, True)
}
TASKS: dict[str, Any] = {name: _define(name) for name in WORK}
