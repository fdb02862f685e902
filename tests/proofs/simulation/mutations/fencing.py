"""The fence, the intent, the keys, and what is in doubt."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import transaction

from fulfillment import provider_call
from fulfillment.engine import Claim, compensation, journal, resumption, tries
from fulfillment.engine.action import ActionState
from fulfillment.engine.claim import action_of
from fulfillment.models import Saga, SagaState, StepState
from orders.durability import may_be_lost
from tests.proofs.simulation.mutations.replacement import edited, replacing

# --- the fence -----------------------------------------------------------------------------------------------------------


def _any_moving_saga(claim: Claim) -> Saga | None:
    saga = journal.locked(claim.saga)
    return saga if saga.state in (SagaState.RUNNING, SagaState.COMPENSATING) else None


def fence_off() -> contextlib.AbstractContextManager[None]:
    """An outcome asks neither for its epoch nor for its claim."""
    return _all_of(replacing(tries, _fenced=_any_moving_saga), *_asking_for_no_claim(), *_asking_for_no_epoch())


def outcome_without_claim() -> contextlib.AbstractContextManager[None]:
    """An outcome asks for its epoch alone."""

    def by_epoch(claim: Claim) -> Saga | None:
        saga = _any_moving_saga(claim)
        return saga if saga is not None and saga.epoch == claim.epoch else None

    return _all_of(replacing(tries, _fenced=by_epoch), *_asking_for_no_claim())


OUTCOMES = ("succeed_and_schedule", "succeed_and_complete")


def _asking_for_no_claim() -> Iterator[contextlib.AbstractContextManager[None]]:
    for statement, claim in zip(OUTCOMES, ("r.claim IS NOT DISTINCT FROM %(claim)s", "r.claim = %(claim)s"), strict=True):
        yield edited(statement, f"AND {claim}", "AND %(claim)s::uuid IS NOT DISTINCT FROM %(claim)s::uuid")


def _asking_for_no_epoch() -> Iterator[contextlib.AbstractContextManager[None]]:
    for statement in OUTCOMES:
        yield edited(statement, "AND s.epoch = %(epoch)s", "AND %(epoch)s > 0")


@contextmanager
def _all_of(*changes: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for change in changes:
            stack.enter_context(change)
        yield


# --- intent, keys, doubt ---------------------------------------------------------------------------------------------------


def intent_not_first() -> contextlib.AbstractContextManager[None]:
    """That a call is scheduled is not durable before it leaves: what was never started counts as never called, and a start writes nothing."""
    start, fenced = tries._start, tries._fenced

    def silent(saga_id: int, epoch: int, name: str, compensating: bool) -> Any:
        with transaction.atomic():
            claim = start(saga_id, epoch, name, compensating)
            transaction.set_rollback(claim is not None)
        return claim

    def by_schedule(claim: Claim) -> Saga | None:
        saga = journal.locked(claim.saga)
        mine = saga.epoch == claim.epoch and action_of(saga, claim).state == ActionState.SCHEDULED
        return saga if mine else fenced(claim)

    @contextmanager
    def both() -> Iterator[None]:
        with replacing(tries, _start=silent, _fenced=by_schedule), scheduled_is_not_called():
            yield

    return both()


def key_per_try() -> contextlib.AbstractContextManager[None]:
    """Each epoch asks under a key of its own."""
    start = tries._start

    def minted(saga_id: int, epoch: int, name: str, compensating: bool) -> Any:
        claim = start(saga_id, epoch, name, compensating)
        return claim if claim is None or compensating else replace(claim, key=f"{claim.key}:e{epoch}")

    return replacing(tries, _start=minted)


def _not_called(*states: str) -> contextlib.AbstractContextManager[None]:
    perhaps = compensation.perhaps_called
    return replacing(compensation, perhaps_called=lambda saga, record: record.state not in states and perhaps(saga, record))


def scheduled_is_not_called() -> contextlib.AbstractContextManager[None]:
    """What was scheduled and is not known to have started counts as never called."""
    return _not_called(StepState.SCHEDULED)


def unavailable_is_not_done() -> contextlib.AbstractContextManager[None]:
    """One try that did not happen stands for all under its key."""
    return _not_called(StepState.RETRY_WAIT)


def epoch_does_not_wait() -> contextlib.AbstractContextManager[None]:
    """The commit that raises an epoch may be lost with the database."""
    schedule_again, turn_back = resumption._schedule_again, compensation.turn_back

    def lossy(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any) -> Any:
            may_be_lost()
            return change(*args)

        return changed

    @contextmanager
    def both() -> Iterator[None]:
        with replacing(resumption, _schedule_again=lossy(schedule_again), turn_back=lossy(turn_back)):
            yield

    return both()


def window_from_start() -> contextlib.AbstractContextManager[None]:
    """The key window counts from this start, so that it never seems to be over."""
    start = tries._start

    def fresh(saga_id: int, epoch: int, name: str, compensating: bool) -> Any:
        claim = start(saga_id, epoch, name, compensating)
        return claim and replace(claim, age_s=0.0)

    return replacing(tries, _start=fresh)


def blind_compensation_by_look_up() -> contextlib.AbstractContextManager[None]:
    """A look-up that finds nothing ends the compensation."""

    def by_look_up(step: Any, order: Any, compensation: Any, claim: Any, capabilities: Any) -> Any:
        found = step.resolve(order, compensation.do_key)
        if found is None or step.left(order, compensation.do_key) == 0:
            return {"nothing_there": True}
        return step.compensate(order, replace(compensation, receipt=found, amount_minor=found.get("amount_minor")))

    return replacing(provider_call, _compensate_blind=by_look_up)
