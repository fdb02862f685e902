"""Endings: how a closed saga has ended, why, what was compensated, and what stays with us."""

from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.models import Status
from orders.money import money
from orders.timeline import EntryKind, TimelineEntry


def closed(saga: Saga, inside: bool = True) -> str:
    if saga.state == SagaState.COMPLETED:
        return "Every step succeeded: the order is paid, reserved and shipped."
    records = list(reversed(list(saga.records.all())))
    compensated = [record.name for record in records if record.state in (StepState.COMPENSATED, StepState.COMPENSATED_BY_HAND)]
    what = f"Undone in this order: {', '.join(compensated)}." if compensated else "Nothing had to be undone."
    ended = f"The order ended because {reason(saga, inside)}."
    return (
        f"{ended} {_written_off(saga, records, compensated)}"
        if saga.state == SagaState.CLOSED_BY_OPERATOR and inside
        else f"{ended} {what}"
    )


def _written_off(saga: Saga, records: list[StepRecord], compensated: list[str]) -> str:
    """The ending of an order that an operator has closed: what was compensated, what was not, and what stays with us."""
    left = [
        record.name
        for record in records
        if record.state not in (StepState.COMPENSATED, StepState.COMPENSATED_BY_HAND, StepState.NOT_NEEDED)
    ]
    kept = sum(entry.amount_minor for entry in saga.order.ledger.all() if entry.operation == LedgerEntry.Operation.WRITTEN_OFF)
    parts = [f"Undone in this order: {', '.join(compensated)}." if compensated else "Nothing was undone."]
    parts += [f"Not undone: {', '.join(left)}."] if left else []
    parts += ["An operator closed it" + (f"; {money(kept, saga.order.currency)} stays with us, written off." if kept else ".")]
    return " ".join(parts)


def reason(saga: Saga, inside: bool = True) -> str:
    """Why the saga turned back, as the history keeps it. The step's record does not say it any more: its error may be that of its compensation."""
    if saga.failure == Status.CANCELLED:
        return "it was cancelled"
    failed = f"{saga.failed_at.replace('_', ' ') or 'a step'} failed"
    if not inside:
        return failed
    turned = TimelineEntry.objects.filter(order_id=saga.order_id, kind=EntryKind.SAGA, to_state=SagaState.COMPENSATING, code=saga.failure)
    entry = turned.order_by("id").first()
    why = str(entry.detail.get("message", "")).rstrip(".") if entry else ""
    return f"{failed}: {why}" if why else failed
