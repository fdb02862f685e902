"""The model's engine on the journal alone, extended by what docs/semantics.md adds to it: which change of a projection is legal, and under which name.

A projection is (saga state, epoch, cancel recorded, going backward, ((step state, doubt) of payment, inventory, shipping)). Transitions that ``saga_model`` has are
taken from there; budgets that are spent, parking, the walk behind a failed undo, and a person's verbs are added here. The simulation replays every change that
the real engine makes on this.
"""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple

from tests.proofs.model.saga_model import current, give_up, grant_next_undo, settle_do, settle_undo, stopped, take_over, turn_back
from tests.proofs.model.saga_state import INVENTORY, PAYMENT, SHIPPING, Journal, Record, Rules, Worker, put

ATTENTION = "needs_attention"
FORWARD_DOUBT = ("started", "retry_wait", "in_doubt", "rejected")
WAITS = ("retry_wait", "in_doubt")
DONE = ("succeeded", "done_by_hand", "skipped")
UNDONE = ("undone", "undone_by_hand", "not_needed")
SPENT = 99


# Every kind of transition, by the names that ``transition`` gives them: what a simulation should have seen.
KINDS = (
    "cancel: recorded",
    "granted → started",
    "granted settles ok",
    "granted settles rejected",
    "started settles ok",
    "started settles rejected",
    "started settles unavailable",
    "started settles doubt",
    "started settles other amount",
    "started settles unusable",
    "started: errback, in doubt",
    "started: sweep",
    "retry_wait: sweep",
    "retry_wait: sweep, budget spent",
    "in_doubt: sweep",
    "in_doubt: sweep, budget spent",
    "granted: sweep, budget spent",
    "rejected: sweep",
    "granted: withdrawn before an open circuit",
    "pending: granted when its circuit closes, or as its probe",
    "undo_granted → started",
    "undo_granted settles ok",
    "undo_started settles ok",
    "undo_started settles rejected",
    "undo_started settles unavailable",
    "undo_started: errback, in doubt",
    "undo_started: sweep",
    "undo_wait: sweep",
    "undo_wait: undo budget spent",
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
    """Doubt is compared where it decides: on a step that is not granted, succeeded or being undone, the engine may know less doubt than the model, never more."""
    if (legal.saga, legal.epoch, legal.cancel, legal.backward) != (seen.saga, seen.epoch, seen.cancel, seen.backward):
        return False
    for (legal_state, legal_doubt), (state, doubt) in zip(legal.steps, seen.steps, strict=True):
        if legal_state != state and not (legal_state == "undo_wait" and state in ("undo_retry_wait", "undo_in_doubt")):
            return False
        if state in FORWARD_DOUBT and doubt and not legal_doubt:
            return False
    return True


# --- to the model and back ------------------------------------------------------------------------------------------------


def journal_of(was: Projection, tries: int = 0) -> Journal:
    """What a step that a person has settled counts as is left to the caller: the model knows no such states."""
    names = {"undo_retry_wait": "undo_wait", "undo_in_doubt": "undo_wait", "done_by_hand": "succeeded", "undone_by_hand": "undone"}
    records = tuple(Record(names.get(state, state), tries, doubt) for state, doubt in was.steps)
    return Journal("attention" if was.saga == ATTENTION else was.saga, was.epoch, True, was.cancel, records)


def projection_of(journal: Journal, was: Projection) -> Projection:
    backward = was.backward or journal.saga in ("compensating", "compensated")
    by_hand = {"succeeded": "done_by_hand", "undone": "undone_by_hand"}
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
    step, undo = at
    record = journal.steps[step]
    state = record.state
    if state in ("granted", "undo_granted") and step != INVENTORY:
        yield f"{state} → started", put(journal, step, record._replace(state="undo_started" if undo else "started"))
    if state in ("started", "undo_started") or (step == INVENTORY and state in ("granted", "undo_granted")):
        for answer in ("ok", "rejected", "unavailable", "doubt"):
            settle = settle_undo if undo else settle_do
            yield f"{state} settles {answer}", settle(rules, journal, Worker(step, undo, was.epoch, 0, "settle", "k", answer=answer))
        if state in ("started", "undo_started"):
            yield f"{state}: errback, in doubt", stopped(journal)
        if state == "started":
            other = Worker(step, undo, was.epoch, 0, "settle", "k", answer="other")
            yield f"{state} settles other amount", settle_do(rules, journal, other)
            yield f"{state} settles unusable", give_up(rules, put(journal, step, record._replace(state="in_doubt", doubt=True)))
    if not undo and state == "granted" and step != INVENTORY:
        unasked = put(journal, step, Record("pending"), epoch=was.epoch + 1)
        yield "granted: withdrawn before an open circuit", unasked
    if not undo and state == "pending":
        yield "pending: granted when its circuit closes, or as its probe", put(journal, step, record._replace(state="granted"))
    for budget in (0, SPENT):
        taken = take_over(rules, journal_of(was, budget))
        if budget == 0 or not undo:
            yield f"{state}: sweep" + (", budget spent" if budget else ""), taken
    if not undo and (was.cancel or state == "rejected"):
        yield f"{state}: turns back", turn_back(rules, journal)


def _parks(rules: Rules, was: Projection) -> Iterator[tuple[str, Projection]]:
    """An undo out of its budget has failed: the walk stops where it blocks, else goes on; and a saga that does not get on is a person's."""
    journal = journal_of(was)
    at = current(journal)
    yield "parked", was._replace(saga=ATTENTION, epoch=was.epoch + 1)
    if at is None or not at[1]:
        return
    step = at[0]
    failed = put(journal, step, journal.steps[step]._replace(state="undo_failed"))
    after = give_up(rules, failed) if step == SHIPPING else grant_next_undo(rules, failed)
    yield f"{journal.steps[step].state}: undo budget spent", projection_of(after, was)


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
        yield "verb: retry", _granted(was, _stands(was, DONE))
        if was.steps[SHIPPING][0] not in DONE:
            yield "verb: start undo", projection_of(turn_back(rules, journal_of(was._replace(saga="running"))), was)
        return
    order = (SHIPPING, INVENTORY, PAYMENT)
    step = next((k for k in order if was.steps[k][0] not in UNDONE), None)
    if step is None:
        return
    yield "verb: retry", _set(was, step, "undo_granted")._replace(saga="compensating", epoch=epoch)
    by_hand = journal_of(_set(was, step, "undone_by_hand")._replace(saga="compensating", epoch=epoch))
    walked = projection_of(grant_next_undo(rules, by_hand), was)
    yield "verb: undone by hand", _set(walked, step, "undone_by_hand")
    yield "verb: close", was._replace(saga="closed_by_operator", epoch=epoch)


def _of_doubt(was: Projection) -> Iterator[tuple[str, Projection]]:
    step = _stands(was, DONE)
    if step is None or step == INVENTORY:
        return
    if was.steps[step][0] in (*WAITS, "started", "granted"):
        yield "verb: it did not", _granted(was, step)
    happened = _set(was, step, "done_by_hand")._replace(saga="running", epoch=was.epoch + 1, cancel=was.cancel and step != SHIPPING)
    if step == SHIPPING:
        yield "verb: it happened", happened._replace(saga="completed")
    elif was.cancel:
        yield "verb: it happened, a cancel is honoured", projection_of(turn_back(Rules(), journal_of(happened)), happened)
    else:
        yield "verb: it happened", _set(happened, step + 1, "granted")


def _stands(was: Projection, done: tuple[str, ...]) -> int | None:
    return next((k for k in (PAYMENT, INVENTORY, SHIPPING) if was.steps[k][0] not in done), None)


def _granted(was: Projection, step: int | None) -> Projection:
    again = was._replace(saga="running", epoch=was.epoch + 1)
    return again if step is None else _set(again, step, "granted")


def _set(was: Projection, step: int, state: str) -> Projection:
    return was._replace(steps=was.steps[:step] + ((state, was.steps[step][1]),) + was.steps[step + 1 :])
