"""An order's own rows: its status, its history, its stock and what it has published agree with its saga."""

from collections.abc import Iterator

from fulfillment.models import Reservation, SagaState, StepState
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered
from orders.events import OrderCancelled, OrderFailed, OrderFulfilled
from orders.models import Status
from orders.timeline import EntryKind

ENDS = (OrderFulfilled.type, OrderFailed.type, OrderCancelled.type)
COMPENSATION_OPEN = (
    *(StepState.COMPENSATION_PENDING, StepState.COMPENSATION_SCHEDULED, StepState.COMPENSATION_STARTED),
    *(StepState.COMPENSATION_RETRY_WAIT, StepState.COMPENSATION_IN_DOUBT, StepState.COMPENSATION_FAILED),
)


def status_agrees_with_saga(gathered: Gathered) -> Iterator[Finding]:
    due = Status.FULFILLED if gathered.is_completed else gathered.saga.failure
    if gathered.order.status != due:
        yield gathered.finding(Rule.STATUS_AGREES_WITH_SAGA, f"shown as {gathered.order.status}, the saga says {due}")


def every_compensation_has_ended(gathered: Gathered) -> Iterator[Finding]:
    """An operator may close an order as it is."""
    for record in gathered.records:
        if gathered.state is SagaState.COMPENSATED and record.state in COMPENSATION_OPEN:
            yield gathered.finding(
                Rule.EVERY_COMPENSATION_HAS_ENDED,
                f"compensated, yet {record.name} is {record.get_state_display().lower()}",
                step=record.name,
            )


def fact_recorded_once(gathered: Gathered) -> Iterator[Finding]:
    """An order has one end. Of one that has failed, code from before these facts has recorded none."""
    ends = [type_ for type_, _ in gathered.missing_deliveries if type_ in ENDS]
    due = [[OrderFulfilled.type]] if gathered.is_completed else [[], [OrderFailed.type], [OrderCancelled.type]]
    if ends not in due:
        yield gathered.finding(
            Rule.FACT_RECORDED_ONCE, f"{' and '.join(ends) or 'no end'} is recorded, of an order that is {gathered.state}"
        )
    elif missing := [name for _, names in gathered.missing_deliveries for name in names]:
        yield gathered.finding(Rule.FACT_RECORDED_ONCE, f"never published: {', '.join(missing)}")


def reservations_closed(gathered: Gathered) -> Iterator[Finding]:
    """Consumed if fulfilled, else released; what an operator has closed holds nothing, whichever way it went."""
    if gathered.state is SagaState.CLOSED_BY_OPERATOR and Reservation.State.HELD not in gathered.reservations:
        return
    due = Reservation.State.CONSUMED if gathered.is_completed else Reservation.State.RELEASED
    is_missing = gathered.is_completed and not gathered.reservations and _has_reserved(gathered)
    if is_missing or gathered.reservations - {due}:
        yield gathered.finding(
            Rule.RESERVATIONS_CLOSED, f"reservations are {', '.join(sorted(gathered.reservations)) or 'gone'}, due {due}"
        )


def _has_reserved(gathered: Gathered) -> bool:
    return any((record.receipt or {}).get("reservations") for record in gathered.records)


def history_rebuilds_the_journal(gathered: Gathered) -> Iterator[Finding]:
    """The last entries alone say where the steps, the saga and the order stand, unless they were pruned."""
    if gathered.is_pruned:
        return
    now = {(EntryKind.STEP, record.name): record.state for record in gathered.records}
    now |= {(EntryKind.SAGA, ""): gathered.saga.state, (EntryKind.ORDER, ""): gathered.order.status}
    for (kind, name), state in now.items():
        last = gathered.history.get((kind, name), StepState.PENDING)
        if last != state:
            message = f"{name or kind} is {state}, its history ends with {last}"
            yield gathered.finding(Rule.HISTORY_REBUILDS_THE_JOURNAL, message, step=name)
