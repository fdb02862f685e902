"""Engines that are broken on purpose, one rule each: a proof that finds nothing wrong with them would prove nothing. The names are the model's.

Each is a context in which the engine of this process breaks its rule; tests run the simulation in it and must see a breach.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from django.db import transaction

from fulfillment import engine, talk
from fulfillment.clock import ShopNow
from fulfillment.crashpoints import crash_point
from fulfillment.engine import budget, deciding, journal, probing, trying, waking, walking
from fulfillment.models import Saga, SagaState, StepState
from fulfillment.recovery import jumps, verbs
from orders.connections import start_clean
from orders.durability import may_be_lost
from orders.postgresql.base import DatabaseWrapper
from orders.watch import ClockWatch
from tests.proofs.simulation import history

FAR_FUTURE = "9999-01-01T00:00Z"


@contextmanager
def replacing(module: Any, **functions: Any) -> Iterator[None]:
    was = {name: vars(module)[name] for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(was)


# --- the fence -----------------------------------------------------------------------------------------------------------


def _any_moving_saga(claim: journal.Claim) -> Saga | None:
    saga = journal.locked(claim.saga)
    return saga if saga.state in (SagaState.RUNNING, SagaState.COMPENSATING) else None


def fence_off() -> contextlib.AbstractContextManager[None]:
    """A settle asks neither for its epoch nor for its claim."""
    return replacing(trying, _fenced=_any_moving_saga)


def settle_without_claim() -> contextlib.AbstractContextManager[None]:
    """A settle asks for its epoch alone."""

    def by_epoch(claim: journal.Claim) -> Saga | None:
        saga = _any_moving_saga(claim)
        return saga if saga is not None and saga.epoch == claim.epoch else None

    return replacing(trying, _fenced=by_epoch)


# --- intent, keys, doubt ---------------------------------------------------------------------------------------------------


def intent_not_first() -> contextlib.AbstractContextManager[None]:
    """The grant that a call needs is not durable before it leaves: what was never started counts as never called, and a start writes nothing."""
    start, fenced = trying._start, trying._fenced

    def silent(saga_id: int, epoch: int, name: str, undo: bool) -> Any:
        with transaction.atomic():
            claim = start(saga_id, epoch, name, undo)
            transaction.set_rollback(claim is not None)
        return claim

    def by_grant(claim: journal.Claim) -> Saga | None:
        saga = journal.locked(claim.saga)
        granted = StepState.UNDO_GRANTED if claim.undo else StepState.GRANTED
        mine = saga.epoch == claim.epoch and journal.record_of(saga, claim.name).state == granted
        return saga if mine else fenced(claim)

    @contextmanager
    def both() -> Iterator[None]:
        with replacing(trying, _start=silent, _fenced=by_grant), granted_is_not_called():
            yield

    return both()


def key_per_try() -> contextlib.AbstractContextManager[None]:
    """Each epoch asks under a key of its own."""
    start = trying._start

    def minted(saga_id: int, epoch: int, name: str, undo: bool) -> Any:
        claim = start(saga_id, epoch, name, undo)
        return claim if claim is None or undo else replace(claim, key=f"{claim.key}:e{epoch}")

    return replacing(trying, _start=minted)


def _not_called(*states: str) -> contextlib.AbstractContextManager[None]:
    perhaps = walking.perhaps_called
    return replacing(walking, perhaps_called=lambda saga, record: record.state not in states and perhaps(saga, record))


def granted_is_not_called() -> contextlib.AbstractContextManager[None]:
    """What was granted and is not known to have started counts as never called."""
    return _not_called(StepState.GRANTED)


def unavailable_is_not_done() -> contextlib.AbstractContextManager[None]:
    """One try that did not happen stands for all under its key."""
    return _not_called(StepState.RETRY_WAIT)


def epoch_does_not_wait() -> contextlib.AbstractContextManager[None]:
    """The commit that raises an epoch may be lost with the database."""
    grant_again, turn_back = waking._grant_again, walking.turn_back

    def lossy(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any) -> Any:
            may_be_lost()
            return change(*args)

        return changed

    @contextmanager
    def both() -> Iterator[None]:
        with replacing(waking, _grant_again=lossy(grant_again), turn_back=lossy(turn_back)):
            yield

    return both()


def window_from_start() -> contextlib.AbstractContextManager[None]:
    """The key window counts from this start, so that it never seems to be over."""
    start = trying._start

    def fresh(saga_id: int, epoch: int, name: str, undo: bool) -> Any:
        claim = start(saga_id, epoch, name, undo)
        return claim and replace(claim, age_s=0.0)

    return replacing(trying, _start=fresh)


def blind_undo_by_look_up() -> contextlib.AbstractContextManager[None]:
    """A look-up that finds nothing ends the undo."""

    def looks(step: Any, order: Any, undo: Any, claim: Any, card: Any) -> Any:
        found = step.resolve(order, undo.do_key)
        if found is None or step.left(order, undo.do_key) == 0:
            return {"nothing_there": True}
        return step.compensate(order, replace(undo, receipt=found, amount_minor=found.get("amount_minor")))

    return replacing(talk, _undo_blind=looks)


# --- before an open circuit ------------------------------------------------------------------------------------------------


def withdraws_any_grant() -> contextlib.AbstractContextManager[None]:
    """Before an open circuit, whatever was granted and is not known to have started counts as never asked for."""
    return replacing(probing, was_never_asked=lambda record, circuit: True)


def probe_does_not_wait() -> contextlib.AbstractContextManager[None]:
    """The start of a probe may be lost with the database."""
    start = trying._start

    def lossy(saga_id: int, epoch: int, name: str, undo: bool) -> Any:
        with transaction.atomic():
            claim = start(saga_id, epoch, name, undo)
            may_be_lost()
        return claim

    return replacing(trying, _start=lossy)


# --- the walk --------------------------------------------------------------------------------------------------------------


def grant_without_wake_at() -> contextlib.AbstractContextManager[None]:
    """A grant relies on its message alone."""

    def forgets(saga: Saga, **changes: Any) -> None:
        journal.save(saga, relaunches=0, wake_at=FAR_FUTURE, launched_at=ShopNow(), **changes)

    return replacing(walking, await_start=forgets)


def undo_blocks_ignored() -> contextlib.AbstractContextManager[None]:
    """The refund goes out although the parcel may still leave."""
    planned = vars(walking)["planned"]
    return replacing(walking, planned=lambda saga, name: planned(saga, name) | {"undo_blocks": False})


def event_in_its_own_commit() -> contextlib.AbstractContextManager[None]:
    """The fact is recorded after the order is fulfilled, not with it."""
    record = vars(walking)["facts"].record

    def later(*fact: Any) -> None:
        transaction.on_commit(lambda: _record(*fact))

    def _record(*fact: Any) -> None:
        crash_point("after_settle_commit")
        with transaction.atomic():
            record(*fact)

    return replacing(walking, facts=SimpleNamespace(record=later))


# --- the clock -------------------------------------------------------------------------------------------------------------


@contextmanager
def jumps_not_noticed() -> Iterator[None]:
    """The database's clock is believed, whatever it says."""
    saw, calm_s = ClockWatch.saw, vars(ClockWatch)["calm_s"]
    setattr(ClockWatch, "saw", lambda watch, asked, now: 0.0)  # noqa: B010
    setattr(ClockWatch, "calm_s", math.inf)  # noqa: B010
    try:
        yield
    finally:
        setattr(ClockWatch, "saw", saw)  # noqa: B010
        setattr(ClockWatch, "calm_s", calm_s)  # noqa: B010


def deadlines_not_moved() -> contextlib.AbstractContextManager[None]:
    """A jump is noticed, and what is open is due; nothing else of it is moved."""
    due = f"UPDATE fulfillment_saga SET {jumps._due_as_ever('wake_at')} WHERE id = ANY(%(sagas)s)"
    return replacing(jumps, SAGAS=due, RECORDS="SELECT 1", PAST_ATTEMPTS="SELECT 1")


def lost_time_counts() -> contextlib.AbstractContextManager[None]:
    """Time in which nobody looked, or that a jump unseen by any sweep made of nothing, is the provider's."""
    return replacing(budget, _give_back_since=lambda saga, since: None)


def takes_over_by_the_clock() -> contextlib.AbstractContextManager[None]:
    """A lease is over when the database's clock says so."""
    look = engine.look
    return replacing(engine, look=lambda saga, poison_after, calm_s: look(saga, poison_after, None))


@contextmanager
def look_up_by_the_clock() -> Iterator[None]:
    """That nothing is found counts once the lag is over by the database's clock."""
    was = vars(journal.Claim)["surely_quiet_s"]
    setattr(journal.Claim, "surely_quiet_s", property(lambda claim: claim.quiet_s))  # noqa: B010
    try:
        yield
    finally:
        setattr(journal.Claim, "surely_quiet_s", was)  # noqa: B010


# --- answers ---------------------------------------------------------------------------------------------------------------


def answers_believed() -> contextlib.AbstractContextManager[None]:
    """Whatever was taken counts as what was asked for."""
    return replacing(talk, as_asked=lambda step, order, receipt: receipt)


@contextmanager
def part_is_all() -> Iterator[None]:
    """Whatever was given back counts as all of it, and the ledger is not asked when the walk ends."""
    with replacing(talk, as_granted=lambda undo, given_back: given_back), replacing(walking, _with_money_that_remains=lambda saga: None):
        yield


def repeated_answer_believed() -> contextlib.AbstractContextManager[None]:
    """What a provider answers from memory counts as what it shows now."""
    return replacing(talk, _still_there=lambda step, order, key, receipt: receipt)


def a_word_is_enough() -> contextlib.AbstractContextManager[None]:
    """A person's word counts, whatever the provider shows."""
    return replacing(verbs, _refuse_what_is_not_whole=lambda *shown: None)


# --- attempts --------------------------------------------------------------------------------------------------------------


def refusal_ends_it_at_once() -> contextlib.AbstractContextManager[None]:
    """What was refused counts as never to land, so that the next attempt need not wait."""
    return replacing(talk, _await_what_was_refused=lambda claim, card: None)


def without_keys_at_once() -> contextlib.AbstractContextManager[None]:
    """An undo in doubt is asked for again as soon as nothing is shown."""
    return replacing(talk, _await_what_was_tried=lambda claim, card: None)


# --- what a person closes ---------------------------------------------------------------------------------------------------


def closing_writes_nothing_off() -> contextlib.AbstractContextManager[None]:
    """A person closes an order, and what remains captured goes on as nobody's."""
    close = deciding.close
    return replacing(deciding, close=lambda saga, amount_minor: close(saga, 0))


def closing_keeps_the_stock() -> contextlib.AbstractContextManager[None]:
    """What an order that was closed has reserved stays reserved."""
    return replacing(deciding, stock=SimpleNamespace(consume=lambda number: None, release_all=lambda number: None))


# --- between two tasks -----------------------------------------------------------------------------------------------------


def dirty_connection_kept() -> contextlib.AbstractContextManager[None]:
    """What is interrupted in its COMMIT leaves its connection to whatever its process does next."""
    give_up = DatabaseWrapper.give_up

    @contextmanager
    def both() -> Iterator[None]:
        setattr(DatabaseWrapper, "give_up", lambda wrapper: None)  # noqa: B010
        try:
            with replacing(history, start_clean=lambda: None):
                yield
        finally:
            setattr(DatabaseWrapper, "give_up", give_up)  # noqa: B010
            start_clean()

    return both()


BROKEN: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "fence off": fence_off,
    "settle without claim": settle_without_claim,
    "intent not committed first": intent_not_first,
    "key minted per try": key_per_try,
    "granted read as not called": granted_is_not_called,
    "unavailable read as not done": unavailable_is_not_done,
    "epoch raised without waiting": epoch_does_not_wait,
    "window counted from start": window_from_start,
    "blind undo by look-up alone": blind_undo_by_look_up,
    "any grant withdrawn": withdraws_any_grant,
    "probe that does not wait": probe_does_not_wait,
    "grant without wake_at": grant_without_wake_at,
    "undo_blocks ignored": undo_blocks_ignored,
    "event in its own commit": event_in_its_own_commit,
    "jumps not noticed": jumps_not_noticed,
    "deadlines not moved": deadlines_not_moved,
    "lost time counts": lost_time_counts,
    "taken over by the clock": takes_over_by_the_clock,
    "looked up by the clock": look_up_by_the_clock,
    "answers believed": answers_believed,
    "part is all": part_is_all,
    "repeated answer believed": repeated_answer_believed,
    "a word is enough": a_word_is_enough,
    "refusal ends it at once": refusal_ends_it_at_once,
    "asked again at once without keys": without_keys_at_once,
    "closing writes nothing off": closing_writes_nothing_off,
    "closing keeps the stock": closing_keeps_the_stock,
    "dirty connection kept": dirty_connection_kept,
}
