"""Celery's door into the core: one named task for each step and each undo, the errback, and the two functions that publish.

A message carries (saga, epoch, order number) and no state: it says "have a look". A task's body is one call into the engine and one talk with a step.
"""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import Task, chain, shared_task
from celery.canvas import Signature
from celery.exceptions import OperationalError, SoftTimeLimitExceeded
from django.db import transaction

from fulfillment import engine
from fulfillment.clock import lease_s
from fulfillment.engine import Claim, Launch, Settled
from fulfillment.errors import InDoubt, Rejected, StepError
from fulfillment.gateways.lease import Lease, leased
from fulfillment.step import Receipt, Step
from fulfillment.steps import BY_NAME, STEPS
from orders.models import Order

log = logging.getLogger(__name__)


def start(order: Order) -> None:
    """Begin the fulfilment of an order, in the transaction that creates it: the saga commits with the order, the chain is published on commit."""
    opened = engine.open_saga(order)
    transaction.on_commit(lambda: launch(opened), robust=True)


def launch(what: Launch | None) -> bool:
    """Publish what is left as one chain, best effort: if the broker is down, the sweep publishes it when the saga is due. False: it did not go out."""
    if what is None:
        return True
    try:
        chain(*signatures(what)).apply_async(link_error=errback(what))
    except (OperationalError, OSError) as down:
        log.warning("The chain of %s was not published, the sweep will: %s", what.order, down)
        return False
    return True


def signatures(what: Launch) -> list[Signature]:
    prefix = "undo_" if what.undo else ""
    return [
        TASKS[f"fulfillment.{prefix}{name}"]
        .si(saga=what.saga, epoch=what.epoch, order=what.order)
        .set(task_id=f"{what.order}.{prefix}{name}.e{what.epoch}")
        for name in what.steps
    ]


def errback(what: Launch) -> Signature:
    """Bound tasks are queued as errbacks; any other kind would run inside the failing process."""
    return failed.si(saga=what.saga, epoch=what.epoch, order=what.order).set(task_id=f"{what.order}.failed.e{what.epoch}")


@shared_task(name="fulfillment.failed", bind=True)
def failed(self: "Task[..., str]", *, saga: int, epoch: int, order: str) -> str:
    """The chain stopped here, for whatever reason: the engine reads the journal, then acts."""
    follow = engine.chain_stopped(saga, epoch)
    launch(follow)
    return f"{order}: {'launched ' + ', '.join(follow.steps) if follow else 'noted'}"


def _run(task: "Task[..., str]", step: Step, undo: bool, saga: int, epoch: int, order: str) -> str:
    if step.local:
        return _run_local(task, step, undo, saga, epoch, order)
    lease = Lease.begin(lease_s())
    claim = engine.start(saga, epoch, step.name, undo)
    if claim is None:
        return _nothing_to_start(task, undo, saga, epoch, order)
    try:
        outcome = _talk(step, claim, lease)
    except SoftTimeLimitExceeded:  # it struck between the answer and its settle
        outcome = InDoubt("The time limit ended the talk with the provider", code="time_limit")
    if isinstance(outcome, StepError):
        return _settle_failure(task, claim, outcome, order)
    with _uncut():
        settled = engine.settle_success(claim, outcome)
    if not settled.mine:
        return _end(task, f"{order}: too late, somebody else owns {step.name}")
    return _go_on(task, settled, f"{order}: {step.name} {'undone' if undo else 'done'}")


@contextmanager
def _uncut() -> Iterator[None]:
    """The soft time limit (SIGUSR1) ends a call, never a settle: what is known about money must reach the journal. The hard limit still holds."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        with suppress(SoftTimeLimitExceeded):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def _run_local(task: "Task[..., str]", step: Step, undo: bool, saga: int, epoch: int, order: str) -> str:
    try:
        settled = engine.run_local(saga, epoch, step.name, undo)
    except Rejected:
        raise
    except StepError as error:
        return _end(task, f"{order}: {error}")
    if not settled.mine:
        return _nothing_to_start(task, undo, saga, epoch, order)
    return _go_on(task, settled, f"{order}: {step.name} {'undone' if undo else 'done'}")


def _talk(step: Step, claim: Claim, lease: Lease) -> Receipt | StepError | None:
    """The call, outside any transaction: what it achieved, or why it did not."""
    try:
        order = Order.objects.prefetch_related("lines").get(pk=claim.order_id)
        with leased(lease):
            if not claim.undo:
                return step.execute(order, claim.key)
            step.compensate(order, claim.undo_of(order))
            return None
    except StepError as error:
        return error
    except Exception as unknown:  # a class nobody listed says nothing about what the provider did
        log.exception("%s of %s: unknown error, in doubt", claim.name, claim.key)
        return InDoubt(f"{type(unknown).__name__} while talking to the provider", code="unknown_error")


def _settle_failure(task: "Task[..., str]", claim: Claim, error: StepError, order: str) -> str:
    with _uncut():
        settled = engine.settle_failure(claim, error)
    if settled and isinstance(error, Rejected) and not claim.undo:
        raise error  # ends the chain through its errback, which turns the saga back
    return _end(task, f"{order}: {claim.name}: {error}" if settled else f"{order}: too late, somebody else owns {claim.name}")


def _nothing_to_start(task: "Task[..., str]", undo: bool, saga: int, epoch: int, order: str) -> str:
    if not undo:
        launch(engine.meet_cancel(saga, epoch))
    return _end(task, f"{order}: nothing to do here")


def _go_on(task: "Task[..., str]", settled: Settled, told: str) -> str:
    """The chain goes on by itself, unless the settle turned the saga back: then its epoch is over, and the undo chain is launched here."""
    if settled.turned is None:
        return told
    launch(settled.turned)
    return _end(task, told)


def _end(task: "Task[..., str]", told: str) -> str:
    """Nothing follows in this chain; what is left to do has its wake_at."""
    task.request.chain = None
    return told


def _define(step: Step, undo: bool) -> "Task[..., str]":
    name = f"fulfillment.{'undo_' if undo else ''}{step.name}"

    @shared_task(name=name, bind=True, throws=(Rejected,))
    def task(self: "Task[..., str]", *, saga: int, epoch: int, order: str) -> str:
        return _run(self, step, undo, saga, epoch, order)

    return task


TASKS: dict[str, Any] = {task.name: task for step in BY_NAME.values() for task in (_define(step, False), _define(step, True))}
assert len(TASKS) == 2 * len(STEPS)
