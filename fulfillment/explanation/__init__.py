"""The "Why?" sentence: where an order stands, since when, what happens next, and what a person may decide; from the journal alone."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from fulfillment import engine, ledger
from fulfillment.clock import ShopNow
from fulfillment.engine.circuit_holds import sentence
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Circuit, Quarantine, Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import HELD_BY_SOMEBODY, Choice, choices, unanswered_for_s, unreadable_orders, version_of
from fulfillment.release import RELEASE
from orders.attention import Incident, IncidentKind
from orders.database import is_our_trouble
from orders.models import Order, Status
from orders.money import money
from orders.timeline import Kind, TimelineEntry

log = logging.getLogger(__name__)

LOOKED_AT = "This is being looked at by a person."
LATE_AFTER_S = 10.0  # the sweep comes once a second, and a spare takes over within five
THE_SWEEP, WHOEVER_HOLDS_IT, A_RELEASE = "the sweep", "whoever holds its rows", "a process of release "
OUTSIDE = {THE_SWEEP: "the shop", WHOEVER_HOLDS_IT: "our own database"}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``next_at``: when the sweep looks at the latest; None once nothing is left to do, a person must decide, or that instant has passed without a look.

    ``public``: the sentence for whoever is no operator. ``blocked_on``: what has to come first ("a person", "the provider", "a worker"; empty: nothing), for
    operators. ``version``: what a decision must name.
    """

    sentence: str
    public: str
    since: datetime | None
    next_at: datetime | None
    blocked_on: str = ""
    version: int = 0
    choices: tuple[Choice, ...] = ()
    incidents: tuple[Incident, ...] = ()

    @property
    def public_blocked_on(self) -> str:
        """``blocked_on`` for whoever is no operator: it names no part of the shop that only we know."""
        return "newer workers" if self.blocked_on.startswith(A_RELEASE) else OUTSIDE.get(self.blocked_on, self.blocked_on)

    @property
    def runbook(self) -> str:
        """Of the incident with most money at risk; empty without one."""
        return self.incidents[0].runbook if self.incidents else ""


def explain(order: Order) -> Explanation:
    """Why ``order`` is where it is. A fixed number of queries, whatever its state, and an answer also where its rows cannot be read."""
    waiting = Quarantine.objects.filter(order_id=order.pk).first()
    if waiting is not None:
        return _nobody_can_work_on(order, waiting, "")
    try:
        return _explain(order)
    except Exception as error:
        if is_our_trouble(error):
            raise
        log.warning("%s: what it says cannot be read: %s", order.number, type(error).__name__)
        return _nobody_can_work_on(order, None, type(error).__name__)


def _nobody_can_work_on(order: Order, waiting: Quarantine | None, wrong: str) -> Explanation:
    """From columns alone: the saga, its plan and its receipts are what cannot be read."""
    incidents = tuple(incident for incident in order.incidents.all() if incident.is_open)
    told = "".join(f"{_beside(incident, waiting)} " for incident in incidents)
    if waiting is not None:
        told += _why_it_waits(waiting)
    else:
        told += f"This code cannot read what the journal says about it ({wrong})."
    follows = "Someone has to look." if incidents else "If that goes on, a person is told."
    return Explanation(
        sentence=f"{told} {follows}",
        public=LOOKED_AT if incidents else "It takes longer than usual.",
        since=waiting.first_at if waiting else order.placed_at,
        next_at=waiting.look_at if waiting else None,
        blocked_on="a person" if incidents else WHOEVER_HOLDS_IT if _is_held(waiting) else THE_SWEEP,
        version=version_of(order.pk),
        choices=tuple(unreadable_orders.choices_of(waiting, bool(incidents))),
        incidents=incidents,
    )


def _beside(incident: Incident, waiting: Quarantine | None) -> str:
    """The quarantine has the newest cause, and tells it itself."""
    return incident.without_reason if waiting is not None and incident.kind == IncidentKind.QUARANTINED else incident.sentence


def _is_held(waiting: Quarantine | None) -> bool:
    """Nothing is wrong with it: somebody else has its rows."""
    return waiting is not None and waiting.code == HELD_BY_SOMEBODY


def _why_it_waits(waiting: Quarantine) -> str:
    often = "once" if waiting.failures == 1 else f"{waiting.failures} times"
    at = f"{waiting.last_at:%H:%M:%S}"
    if _is_held(waiting):
        held = f"at the last look, at {at}, somebody else held rows that it needs"
        return (
            f"The sweep could not work on it {often}; {held}. It goes on by itself when they let go; `manage.py doctor` names them (locks)."
        )
    return f"The sweep has failed on it {often}, last at {at} ({waiting.code}), and looks at it again by itself."


def _explain(order: Order) -> Explanation:
    saga = Saga.objects.filter(order=order).annotate(now=ShopNow()).select_related("order").prefetch_related("records").first()
    if saga is None:
        told = "The order has no saga: it was not placed through the shop."
        return Explanation(sentence=told, public=told, since=order.placed_at, next_at=None)
    incidents = tuple(incident for incident in order.incidents.all() if incident.is_open)
    shared: dict[str, Any] = {"version": version_of(order.pk), "choices": tuple(choices(saga, bool(incidents))), "incidents": incidents}
    at = engine.standing(saga)
    if engine.left_at_its_end(saga):
        sentence, blocked = _left_at_its_end(saga), _blocked_on_release(saga)
        return Explanation(sentence=sentence, public=_PUBLIC_END, since=saga.left_since, next_at=saga.wake_at, blocked_on=blocked, **shared)
    if at is None:
        open_matter = "".join(f" {incident.sentence}" for incident in incidents)
        outside = _closed(saga, inside=False)
        blocked, public = ("a person", f"{outside} {LOOKED_AT}") if incidents else ("", outside)
        return Explanation(
            sentence=_closed(saga) + open_matter, public=public, since=saga.closed_at, next_at=None, blocked_on=blocked, **shared
        )
    record, undo = at
    if saga.state == SagaState.NEEDS_ATTENTION:
        sentence, public, blocked = _waits_for_a_person(saga, record, undo, incidents), LOOKED_AT, "a person"
    else:
        silent_s = _silent_for_s(record, undo)
        sentence, blocked = _moving(saga, record, undo, silent_s), _blocked(saga, record)
        public = _PUBLIC_UNDO if undo else _PUBLIC.get(record.state, _plain("{name} is being worked on."))(record)
        if (saga.held_by or silent_s or _is_asked_for_anew(saga, record)) and not undo:
            public = _PUBLIC[StepState.RETRY_WAIT](record)
    next_at = saga.wake_at
    if next_at is not None and saga.now - next_at > timedelta(seconds=LATE_AFTER_S):
        sentence += f" It was due at {next_at:%H:%M:%S} UTC, and the sweep has not come to it since: `manage.py doctor` says why."
        next_at, blocked = None, THE_SWEEP
    return Explanation(sentence=sentence, public=public, since=_since(saga, record), next_at=next_at, blocked_on=blocked, **shared)


def _since(saga: Saga, record: StepRecord) -> datetime | None:
    """When something last happened to it; a try as the probe of a provider that is out changes nothing."""
    if saga.held_by and saga.held_at:
        return saga.held_at
    instants = (record.granted_at, record.started_at, record.settled_at, record.undo_granted_at)
    return max((instant for instant in instants if instant is not None), default=None)


def _silent_for_s(record: StepRecord, undo: bool) -> float:
    """For how long the queue in which its message waits has let nothing out; 0: no message of it waits, or the queue is not known to be silent."""
    if record.state not in engine.GRANTED:
        return 0.0
    silent_s = unanswered_for_s().get("undo" if undo else "saga", 0.0)
    return silent_s if silent_s > settings.PROBE_AFTER_S else 0.0  # a younger stamp may well be on its way


def _behind(record: StepRecord, undo: bool, silent_s: float) -> str:
    what = f"The undo of {record.name}" if undo else record.name.capitalize()
    long = f"{silent_s:.0f} s" if silent_s < 120 else f"{silent_s / 60:.0f} min"
    return f"{what} may start, but its queue has let nothing out for {long}: `manage.py doctor` says why."


def _moving(saga: Saga, record: StepRecord, undo: bool, silent_s: float) -> str:
    text = _stands(saga, record, undo, silent_s)
    if undo:
        return f"The order is being undone ({_reason(saga)}). {text}"
    if saga.cancel_requested_at:
        text += " A cancel was requested and is honoured at the next step border."
    return text


def _put_off(record: StepRecord) -> str:
    what = f"The undo of {record.name}" if record.state.startswith("undo") else record.name.capitalize()
    doubt = " It may or may not have happened." if record.state in (StepState.IN_DOUBT, StepState.UNDO_IN_DOUBT) else ""
    return f"{what} waits for our own database ({_inside(record)}).{doubt} It goes on by itself; no try is spent."


def _left(saga: Saga, record: StepRecord) -> str:
    return f"{record.name.capitalize()} ({record.get_state_display().lower()}) {_waits_for_its_release(saga)}"


def _left_at_its_end(saga: Saga) -> str:
    done = "Every undo is settled" if saga.is_backward else "Every step succeeded"
    return f"{done}; how the order ends {_waits_for_its_release(saga)}"


def _waits_for_its_release(saga: Saga) -> str:
    return (
        f"waits for a process of release {saga.release}:"
        f" since {saga.left_since:%H:%M:%S} UTC it has met only others, as in a deploy that is not finished. When one comes, it goes on by itself."
    )


def _foreign(record: StepRecord) -> str:
    """A state that only another release knows."""
    return f"{record.name.capitalize()} is at “{record.state}”, which this release ({RELEASE}) does not know."


def _blocked_on_release(saga: Saga) -> str:
    return f"{A_RELEASE}{saga.release}"


def _blocked(saga: Saga, record: StepRecord) -> str:
    if saga.left_since:
        return _blocked_on_release(saga)
    if saga.held_by:
        return "the provider"
    return "our own database" if engine.is_put_off(record) else _BLOCKED.get(record.state, "")


def _stands(saga: Saga, record: StepRecord, undo: bool, silent_s: float) -> str:
    if saga.left_since:
        return _left(saga, record)
    if saga.held_by:
        return _held(saga, record, undo)
    if silent_s and not engine.is_put_off(record):
        return _behind(record, undo, silent_s)
    if _is_asked_for_anew(saga, record):
        return f"{record.name.capitalize()} was refused ({_inside(record)}). It is asked for again under a new key."
    return (_put_off if engine.is_put_off(record) else _SENTENCES.get(record.state, _foreign))(record)


def _is_asked_for_anew(saga: Saga, record: StepRecord) -> bool:
    """Rejected after the pivot: nothing turns back any more."""
    return record.state == StepState.REJECTED and engine.pivot_succeeded(saga)


def _held(saga: Saga, record: StepRecord, undo: bool) -> str:
    """Before an open circuit, or before one that has just closed."""
    what = f"The undo of {record.name}" if undo else record.name.capitalize()
    circuit = Circuit.objects.filter(pk=saga.held_by).first()
    if circuit is None or not circuit.is_open:
        return f"{what} goes on in a moment: the provider answers again, and those who waited come one after the other."
    asked = _ASKED.get(record.state, "")
    back = "It goes on when it is released" if circuit.held_by else "It goes on by itself when the provider answers"
    return f"{what} waits{asked}. {sentence(circuit)}. {back}; meanwhile neither tries nor time is spent."


_ASKED: dict[str, str] = {
    StepState.PENDING: ", and was never asked for there",
    StepState.IN_DOUBT: "; it may or may not have happened",
    StepState.UNDO_IN_DOUBT: "; it may or may not have happened",
    StepState.STARTED: ": it is being asked for right now, to see whether the provider is back",
    StepState.UNDO_STARTED: ": it is being asked for right now, to see whether the provider is back",
}


def _waits_for_a_person(saga: Saga, record: StepRecord, undo: bool, incidents: tuple[Incident, ...]) -> str:
    what = incidents[0].sentence if incidents else f"{record.name.capitalize()} does not get on."
    back = f"The order was being undone ({_reason(saga)}). " if undo else ""
    left = ledger.remaining(saga.order_id)
    kept = f" {money(left, saga.order.currency)} is still captured." if left else ""
    return f"{back}{what}{kept} Nothing is running. Someone has to decide."


def _closed(saga: Saga, inside: bool = True) -> str:
    if saga.state == SagaState.COMPLETED:
        return "Every step succeeded: the order is paid, reserved and shipped."
    records = list(reversed(list(saga.records.all())))
    undone = [record.name for record in records if record.state in (StepState.UNDONE, StepState.UNDONE_BY_HAND)]
    what = f"Undone in this order: {', '.join(undone)}." if undone else "Nothing had to be undone."
    ended = f"The order ended because {_reason(saga, inside)}."
    return f"{ended} {_written_off(saga, records, undone)}" if saga.state == SagaState.CLOSED_BY_OPERATOR and inside else f"{ended} {what}"


def _written_off(saga: Saga, records: list[StepRecord], undone: list[str]) -> str:
    """What an operator has closed: what was undone, what was not, and what stays with us."""
    left = [record.name for record in records if record.state not in (StepState.UNDONE, StepState.UNDONE_BY_HAND, StepState.NOT_NEEDED)]
    kept = sum(entry.amount_minor for entry in saga.order.ledger.all() if entry.operation == LedgerEntry.Operation.WRITTEN_OFF)
    parts = [f"Undone in this order: {', '.join(undone)}." if undone else "Nothing was undone."]
    parts += [f"Not undone: {', '.join(left)}."] if left else []
    parts += ["An operator closed it" + (f"; {money(kept, saga.order.currency)} stays with us, written off." if kept else ".")]
    return " ".join(parts)


def _reason(saga: Saga, inside: bool = True) -> str:
    """As the history keeps it from the instant of turning back: what a step's record says may be of its undo by now."""
    if saga.failure == Status.CANCELLED:
        return "it was cancelled"
    failed = f"{saga.failed_at.replace('_', ' ') or 'a step'} failed"
    if not inside:
        return failed
    turned = TimelineEntry.objects.filter(order_id=saga.order_id, kind=Kind.SAGA, to_state=SagaState.COMPENSATING, code=saga.failure)
    entry = turned.order_by("id").first()
    why = str(entry.detail.get("message", "")).rstrip(".") if entry else ""
    return f"{failed}: {why}" if why else failed


def _inside(record: StepRecord) -> str:
    """The last error, to stand within a sentence of ours."""
    return record.error_message.rstrip(".")


def _waits(verb: str) -> Callable[[StepRecord], str]:
    def sentence(record: StepRecord) -> str:
        tries = record.undo_tries if record.state.startswith("undo") else record.tries
        why = f" ({_inside(record)})" if record.error_message else ""
        return f"{record.name.capitalize()} {verb} after try {tries}{why}. It is tried again under the same key."

    return sentence


def _plain(text: str) -> Callable[[StepRecord], str]:
    return lambda record: text.format(name=record.name.capitalize())


_SENTENCES: dict[str, Callable[[StepRecord], str]] = {
    StepState.PENDING: _plain("{name} waits for the steps before it."),
    StepState.GRANTED: _plain("{name} may start: its message is on the way to a worker."),
    StepState.STARTED: _plain("{name} is running."),
    StepState.REJECTED: _plain("{name} was rejected for good: the order is about to be undone."),
    StepState.RETRY_WAIT: _waits("could not be tried"),
    StepState.IN_DOUBT: _waits("may or may not have happened"),
    StepState.SUCCEEDED: _plain("{name} succeeded."),
    StepState.DONE_BY_HAND: _plain("{name} happened, a person has said."),
    StepState.SKIPPED: _plain("{name} was left out, a person has decided."),
    StepState.NOT_NEEDED: _plain("{name} needs no undo."),
    StepState.UNDO_PENDING: _plain("The undo of {name} waits for the undos before it."),
    StepState.UNDO_GRANTED: _plain("The undo of {name} may start: its message is on the way to a worker."),
    StepState.UNDO_STARTED: _plain("The undo of {name} is running."),
    StepState.UNDO_RETRY_WAIT: _waits("could not be undone"),
    StepState.UNDO_IN_DOUBT: _waits("may or may not be undone"),
    StepState.UNDO_FAILED: _plain("The undo of {name} has failed; the undos before it go on."),
    StepState.UNDONE: _plain("{name} is undone."),
    StepState.UNDONE_BY_HAND: _plain("{name} was undone by hand, a person has said."),
}
# For whoever is no operator: no provider's error, no try, no key.
_PUBLIC_UNDO = "The order is being undone."
_PUBLIC_END = "The order is about to end; it goes on by itself."
_PUBLIC: dict[str, Callable[[StepRecord], str]] = {
    StepState.GRANTED: _plain("{name} is next."),
    StepState.STARTED: _plain("{name} is under way."),
    StepState.REJECTED: _plain("{name} failed; the order is about to be undone."),
    StepState.RETRY_WAIT: _plain("{name} takes longer than usual; it goes on by itself."),
    StepState.IN_DOUBT: _plain("{name} takes longer than usual; it goes on by itself."),
}
_BLOCKED: dict[str, str] = {
    StepState.GRANTED: "a worker",
    StepState.UNDO_GRANTED: "a worker",
    StepState.STARTED: "the provider",
    StepState.UNDO_STARTED: "the provider",
    StepState.RETRY_WAIT: "the provider",
    StepState.IN_DOUBT: "the provider",
    StepState.UNDO_RETRY_WAIT: "the provider",
    StepState.UNDO_IN_DOUBT: "the provider",
}
