"""The model's engine on the journal alone, extended by what docs/semantics.md adds to it: which change of a projection is legal, and under which name.

A projection is (saga state, epoch, cancel recorded, going backward, ((step state, doubt) of payment, inventory, shipping)). Transitions that ``saga_model`` has are
taken from there; budgets that are spent, parking, the walk behind a failed compensation, and a person's verbs are added here. The simulation replays every change
that the real engine makes on this.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

from tests.proofs.model.saga_model import (
    current,
    give_up,
    record_compensation,
    record_do,
    schedule_next_compensation,
    stopped,
    take_over,
    turn_back,
)
from tests.proofs.model.saga_state import INVENTORY, PAYMENT, SHIPPING, Journal, Record, Rules, Worker, put

ATTENTION = "needs_attention"
FORWARD_DOUBT = ("started", "retry_wait", "in_doubt", "rejected")
WAITS = ("retry_wait", "in_doubt")
DONE = ("succeeded", "done_by_hand", "skipped")
COMPENSATED = ("compensated", "compensated_by_hand", "not_needed")
SPENT = 99


# Every kind of transition, by the names that ``transition`` gives them: what a simulation should have seen.
KINDS = (
    "cancel: recorded",
    "scheduled → started",
    "scheduled records ok",
    "scheduled records rejected",
    "started records ok",
    "started records rejected",
    "started records unavailable",
    "started records doubt",
    "started records other amount",
    "started records unusable",
    "started: errback, in doubt",
    "started: sweep",
    "retry_wait: sweep",
    "retry_wait: sweep, budget spent",
    "in_doubt: sweep",
    "in_doubt: sweep, budget spent",
    "scheduled: sweep, budget spent",
    "rejected: sweep",
    "scheduled: withdrawn before an open circuit",
    "pending: scheduled when its circuit closes, or as its probe",
    "compensation_scheduled → started",
    "compensation_scheduled records ok",
    "compensation_started records ok",
    "compensation_started records rejected",
    "compensation_started records unavailable",
    "compensation_started: errback, in doubt",
    "compensation_started: sweep",
    "compensation_wait: sweep",
    "compensation_wait: compensation budget spent",
    "parked",
    "verb: retry",
    "verb: start undo",
    "verb: it did not",
    "verb: it happened",
    "verb: undone by hand",
    "verb: close",
)


class Projection(NamedTuple):
    saga: str
    epoch: int
    cancel: bool
    backward: bool
    steps: tuple[tuple[str, bool], ...]


def transition(before: tuple[Any, ...], after: tuple[Any, ...], keeps_rejections: bool) -> str | None:
    """The name of the legal transition from ``before`` to ``after``; None: there is none."""
    was, now = Projection(*before), Projection(*after)
    for name, legal in successors(was, keeps_rejections):
        if _same(legal, now):
            return name
    return None


def _same(legal: Projection, seen: Projection) -> bool:
    """Doubt is compared where it decides: where a step is not scheduled, succeeded or being compensated, the engine may doubt less than the model, never more."""
    if (legal.saga, legal.epoch, legal.cancel, legal.backward) != (seen.saga, seen.epoch, seen.cancel, seen.backward):
        return False
    for (legal_state, legal_doubt), (state, doubt) in zip(legal.steps, seen.steps, strict=True):
        if legal_state != state and not (
            legal_state == "compensation_wait" and state in ("compensation_retry_wait", "compensation_in_doubt")
        ):
            return False
        if state in FORWARD_DOUBT and doubt and not legal_doubt:
            return False
    return True


# --- to the model and back ------------------------------------------------------------------------------------------------


def journal_of(was: Projection, tries: int = 0) -> Journal:
    """What a step that a person has decided counts as is left to the caller: the model knows no such states."""
    names = {
        "compensation_retry_wait": "compensation_wait",
        "compensation_in_doubt": "compensation_wait",
        "done_by_hand": "succeeded",
        "compensated_by_hand": "compensated",
    }
    records = tuple(Record(names.get(state, state), tries, doubt) for state, doubt in was.steps)
    return Journal("attention" if was.saga == ATTENTION else was.saga, was.epoch, True, was.cancel, records)


def projection_of(journal: Journal, was: Projection) -> Projection:
    backward = was.backward or journal.saga in ("compensating", "compensated")
    by_hand = {"succeeded": "done_by_hand", "compensated": "compensated_by_hand"}
    steps = tuple(
        (old if by_hand.get(record.state) == old else record.state, record.doubt)
        for record, (old, _) in zip(journal.steps, was.steps, strict=True)
    )
    saga = ATTENTION if journal.saga == "attention" else journal.saga
    return Projection(saga, journal.epoch, journal.cancel and saga != "completed", backward, steps)


# --- every legal change ----------------------------------------------------------------------------------------------------


def successors(was: Projection, keeps_rejections: bool) -> Iterator[tuple[str, Projection]]:
    rules = Rules(rejection_ends_doubt=keeps_rejections)
    if was.saga in ("running", ATTENTION) and not was.backward:
        yield "cancel: recorded", was._replace(cancel=True)
    if was.saga in ("running", "compensating"):
        for name, journal in _moves(rules, was):
            yield name, projection_of(journal, was)
        yield from _parks(rules, was)
    yield from _verbs(rules, was)


def _moves(rules: Rules, was: Projection) -> Iterator[tuple[str, Journal]]:
    journal = journal_of(was)
    at = current(journal)
    if at is None:
        return
    step, compensating = at
    record = journal.steps[step]
    state = record.state
    if state in ("scheduled", "compensation_scheduled") and step != INVENTORY:
        yield f"{state} → started", put(journal, step, record._replace(state="compensation_started" if compensating else "started"))
    if state in ("started", "compensation_started") or (step == INVENTORY and state in ("scheduled", "compensation_scheduled")):
        for answer in ("ok", "rejected", "unavailable", "doubt"):
            record_outcome = record_compensation if compensating else record_do
            yield (
                f"{state} records {answer}",
                record_outcome(rules, journal, Worker(step, compensating, was.epoch, 0, "record", "k", answer=answer)),
            )
        if state in ("started", "compensation_started"):
            yield f"{state}: errback, in doubt", stopped(journal)
        if state == "started":
            other = Worker(step, compensating, was.epoch, 0, "record", "k", answer="other")
            yield f"{state} records other amount", record_do(rules, journal, other)
            yield f"{state} records unusable", give_up(rules, put(journal, step, record._replace(state="in_doubt", doubt=True)))
    if not compensating and state == "scheduled" and step != INVENTORY:
        unasked = put(journal, step, Record("pending"), epoch=was.epoch + 1)
        yield "scheduled: withdrawn before an open circuit", unasked
    if not compensating and state == "pending":
        yield "pending: scheduled when its circuit closes, or as its probe", put(journal, step, record._replace(state="scheduled"))
    for budget in (0, SPENT):
        taken = take_over(rules, journal_of(was, budget))
        if budget == 0 or not compensating:
            yield f"{state}: sweep" + (", budget spent" if budget else ""), taken
    if not compensating and (was.cancel or state == "rejected"):
        yield f"{state}: turns back", turn_back(rules, journal)


def _parks(rules: Rules, was: Projection) -> Iterator[tuple[str, Projection]]:
    """A compensation out of its budget has failed: the walk stops where it blocks, else goes on; and a saga that does not get on is a person's."""
    journal = journal_of(was)
    at = current(journal)
    yield "parked", was._replace(saga=ATTENTION, epoch=was.epoch + 1)
    if at is None or not at[1]:
        return
    step = at[0]
    failed = put(journal, step, journal.steps[step]._replace(state="compensation_failed"))
    after = give_up(rules, failed) if step == SHIPPING else schedule_next_compensation(rules, failed)
    yield f"{journal.steps[step].state}: compensation budget spent", projection_of(after, was)


# --- a person's verbs ------------------------------------------------------------------------------------------------------


def _verbs(rules: Rules, was: Projection) -> Iterator[tuple[str, Projection]]:
    if was.saga == ATTENTION:
        yield from _of_parked(rules, was)
    elif was.saga == "running":
        yield from _of_doubt(was)
        if was.steps[SHIPPING][0] not in DONE:
            yield "verb: start undo", projection_of(turn_back(rules, journal_of(was)), was)


def _of_parked(rules: Rules, was: Projection) -> Iterator[tuple[str, Projection]]:
    epoch = was.epoch + 1
    if not was.backward:
        yield from _of_doubt(was)
        yield "verb: retry", _scheduled(was, _stands(was, DONE))
        if was.steps[SHIPPING][0] not in DONE:
            yield "verb: start undo", projection_of(turn_back(rules, journal_of(was._replace(saga="running"))), was)
        return
    order = (SHIPPING, INVENTORY, PAYMENT)
    step = next((k for k in order if was.steps[k][0] not in COMPENSATED), None)
    if step is None:
        return
    yield "verb: retry", _set(was, step, "compensation_scheduled")._replace(saga="compensating", epoch=epoch)
    by_hand = journal_of(_set(was, step, "compensated_by_hand")._replace(saga="compensating", epoch=epoch))
    walked = projection_of(schedule_next_compensation(rules, by_hand), was)
    yield "verb: undone by hand", _set(walked, step, "compensated_by_hand")
    yield "verb: close", was._replace(saga="closed_by_operator", epoch=epoch)


def _of_doubt(was: Projection) -> Iterator[tuple[str, Projection]]:
    step = _stands(was, DONE)
    if step is None or step == INVENTORY:
        return
    if was.steps[step][0] in (*WAITS, "started", "scheduled"):
        yield "verb: it did not", _scheduled(was, step)
    happened = _set(was, step, "done_by_hand")._replace(saga="running", epoch=was.epoch + 1, cancel=was.cancel and step != SHIPPING)
    if step == SHIPPING:
        yield "verb: it happened", happened._replace(saga="completed")
    elif was.cancel:
        yield "verb: it happened, a cancel is honoured", projection_of(turn_back(Rules(), journal_of(happened)), happened)
    else:
        yield "verb: it happened", _set(happened, step + 1, "scheduled")


def _stands(was: Projection, done: tuple[str, ...]) -> int | None:
    return next((k for k in (PAYMENT, INVENTORY, SHIPPING) if was.steps[k][0] not in done), None)


def _scheduled(was: Projection, step: int | None) -> Projection:
    again = was._replace(saga="running", epoch=was.epoch + 1)
    return again if step is None else _set(again, step, "scheduled")


def _set(was: Projection, step: int, state: str) -> Projection:
    return was._replace(steps=was.steps[:step] + ((state, was.steps[step][1]),) + was.steps[step + 1 :])
