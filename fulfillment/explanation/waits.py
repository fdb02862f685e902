"""Waits: what a saga that is not closed waits for. An open circuit, a queue, our own database, another release, or a person comes before the state of its step."""

from django.conf import settings

from fulfillment import engine, ledger
from fulfillment.code_release import RELEASE
from fulfillment.explanation.answer import A_RELEASE
from fulfillment.explanation.endings import reason
from fulfillment.explanation.states import ASKED, BLOCKED, SENTENCES, inside
from fulfillment.models import Circuit, Saga, StepRecord, StepState
from orders.incidents import Incident
from orders.money import money
from orders.queue_probes import unanswered_for_s


def silent_for_s(record: StepRecord, compensating: bool) -> float:
    """Seconds for which the queue of its message has let nothing out. 0: no message of it waits, or the queue is not known to be silent."""
    if engine.current(record).state != engine.ActionState.SCHEDULED:
        return 0.0
    silent_s = unanswered_for_s().get("compensation" if compensating else "saga", 0.0)
    return silent_s if silent_s > settings.PROBE_AFTER_S else 0.0  # a younger stamp may well be on its way


def _behind(record: StepRecord, compensating: bool, silent_s: float) -> str:
    what = f"The undo of {record.name}" if compensating else record.name.capitalize()
    long = f"{silent_s:.0f} s" if silent_s < 120 else f"{silent_s / 60:.0f} min"
    return f"{what} may start, but its queue has let nothing out for {long}: `manage.py doctor` says why."


def moving(saga: Saga, record: StepRecord, compensating: bool, silent_s: float) -> str:
    """The sentence of a saga that goes on by itself."""
    text = _stands(saga, record, compensating, silent_s)
    if compensating:
        return f"The order is being undone ({reason(saga)}). {text}"
    if saga.cancel_requested_at:
        text += " A cancel was requested and is honoured at the next step border."
    return text


def _put_off(record: StepRecord) -> str:
    what = f"The undo of {record.name}" if record.state.startswith("compensation") else record.name.capitalize()
    doubt = " It may or may not have happened." if record.state in (StepState.IN_DOUBT, StepState.COMPENSATION_IN_DOUBT) else ""
    return f"{what} waits for our own database ({inside(record)}).{doubt} It goes on by itself; no try is spent."


def _left(saga: Saga, record: StepRecord) -> str:
    return f"{record.name.capitalize()} ({record.get_state_display().lower()}) {_waits_for_its_release(saga)}"


def left_at_its_end(saga: Saga) -> str:
    done = "Every undo has ended" if saga.is_backward else "Every step succeeded"
    return f"{done}; how the order ends {_waits_for_its_release(saga)}"


def _waits_for_its_release(saga: Saga) -> str:
    return (
        f"waits for a process of release {saga.release}:"
        f" since {saga.left_since:%H:%M:%S} UTC it has met only others, as in a deploy that is not finished. When one comes, it goes on by itself."
    )


def _foreign(record: StepRecord) -> str:
    """A state that only another release knows."""
    return f"{record.name.capitalize()} is at “{record.state}”, which this release ({RELEASE}) does not know."


def blocked_on_release(saga: Saga) -> str:
    return f"{A_RELEASE}{saga.release}"


def blocked(saga: Saga, record: StepRecord) -> str:
    """What has to come first. Empty: nothing."""
    if saga.left_since:
        return blocked_on_release(saga)
    if saga.held_by:
        return "the provider"
    return "our own database" if engine.is_put_off(engine.current(record)) else BLOCKED.get(record.state, "")


def _stands(saga: Saga, record: StepRecord, compensating: bool, silent_s: float) -> str:
    if saga.left_since:
        return _left(saga, record)
    if saga.held_by:
        return _held(saga, record, compensating)
    if silent_s and not engine.is_put_off(engine.current(record)):
        return _behind(record, compensating, silent_s)
    if is_asked_for_anew(saga, record):
        return f"{record.name.capitalize()} was refused ({inside(record)}). It is asked for again under a new key."
    return (_put_off if engine.is_put_off(engine.current(record)) else SENTENCES.get(record.state, _foreign))(record)


def is_asked_for_anew(saga: Saga, record: StepRecord) -> bool:
    """The step was rejected after the pivot had succeeded, so the saga cannot turn back."""
    return record.state == StepState.REJECTED and engine.pivot_succeeded(saga)


def _held(saga: Saga, record: StepRecord, compensating: bool) -> str:
    """The sentence before an open circuit, or before one that has just closed."""
    what = f"The undo of {record.name}" if compensating else record.name.capitalize()
    circuit = Circuit.objects.filter(pk=saga.held_by).first()
    if circuit is None or not circuit.is_open:
        return f"{what} goes on in a moment: the provider answers again, and those who waited come one after the other."
    asked = ASKED.get(record.state, "")
    back = "It goes on when it is released" if circuit.held_by else "It goes on by itself when the provider answers"
    return f"{what} waits{asked}. {engine.sentence_with_waiting(circuit)}. {back}; meanwhile neither tries nor time is spent."


def waits_for_a_person(saga: Saga, record: StepRecord, compensating: bool, incidents: tuple[Incident, ...]) -> str:
    what = incidents[0].sentence if incidents else f"{record.name.capitalize()} does not get on."
    back = f"The order was being undone ({reason(saga)}). " if compensating else ""
    left = ledger.remaining(saga.order_id)
    kept = f" {money(left, saga.order.currency)} is still captured." if left else ""
    return f"{back}{what}{kept} Nothing is running. Someone has to decide."
