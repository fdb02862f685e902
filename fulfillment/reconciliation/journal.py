"""An order's own rows: its status, its history, its stock and what it has published agree with its saga."""

from collections.abc import Iterator

from fulfillment.models import Reservation, SagaState, StepState
from fulfillment.reconciliation.facts import Facts
from fulfillment.reconciliation.finding import Finding, Rule
from orders.models import Status
from orders.timeline import EntryKind

COMPENSATION_OPEN = (
    *(StepState.COMPENSATION_PENDING, StepState.COMPENSATION_SCHEDULED, StepState.COMPENSATION_STARTED),
    *(StepState.COMPENSATION_RETRY_WAIT, StepState.COMPENSATION_IN_DOUBT, StepState.COMPENSATION_FAILED),
)


def status_agrees_with_saga(facts: Facts) -> Iterator[Finding]:
    due = Status.FULFILLED if facts.is_completed else facts.saga.failure
    if facts.order.status != due:
        yield facts.finding(Rule.STATUS_AGREES_WITH_SAGA, f"shown as {facts.order.status}, the saga says {due}")


def every_compensation_has_ended(facts: Facts) -> Iterator[Finding]:
    """An operator may close an order as it is."""
    for record in facts.records:
        if facts.state is SagaState.COMPENSATED and record.state in COMPENSATION_OPEN:
            yield facts.finding(
                Rule.EVERY_COMPENSATION_HAS_ENDED,
                f"compensated, yet {record.name} is {record.get_state_display().lower()}",
                step=record.name,
            )


def fact_recorded_once(facts: Facts) -> Iterator[Finding]:
    due = int(facts.is_completed)
    if len(facts.missing_deliveries) != due:
        yield facts.finding(Rule.FACT_RECORDED_ONCE, f"{len(facts.missing_deliveries)} facts, due {due}")
    elif missing := [name for names in facts.missing_deliveries for name in names]:
        yield facts.finding(Rule.FACT_RECORDED_ONCE, f"never published: {', '.join(missing)}")


def reservations_closed(facts: Facts) -> Iterator[Finding]:
    """Consumed if fulfilled, else released; what an operator has closed holds nothing, whichever way it went."""
    if facts.state is SagaState.CLOSED_BY_OPERATOR and Reservation.State.HELD not in facts.reservations:
        return
    due = Reservation.State.CONSUMED if facts.is_completed else Reservation.State.RELEASED
    is_missing = facts.is_completed and not facts.reservations and _has_reserved(facts)
    if is_missing or facts.reservations - {due}:
        yield facts.finding(Rule.RESERVATIONS_CLOSED, f"reservations are {', '.join(sorted(facts.reservations)) or 'gone'}, due {due}")


def _has_reserved(facts: Facts) -> bool:
    return any((record.receipt or {}).get("reservations") for record in facts.records)


def history_rebuilds_the_journal(facts: Facts) -> Iterator[Finding]:
    """The last entries alone say where the steps, the saga and the order stand."""
    now = {(EntryKind.STEP, record.name): record.state for record in facts.records}
    now |= {(EntryKind.SAGA, ""): facts.saga.state, (EntryKind.ORDER, ""): facts.order.status}
    for (kind, name), state in now.items():
        last = facts.history.get((kind, name), StepState.PENDING)
        if last != state:
            message = f"{name or kind} is {state}, its history ends with {last}"
            yield facts.finding(Rule.HISTORY_REBUILDS_THE_JOURNAL, message, step=name)
