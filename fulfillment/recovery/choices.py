"""What a person may decide about an order, from its journal: the legal choices, and the version that a decision must name."""

from dataclasses import dataclass

from fulfillment import engine, ledger
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.money import money
from orders.timeline import TimelineEntry


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One verb that is legal now. ``label`` names the act for people; ``needs``: what must be given besides the reason; ``warns``: what to know first."""

    verb: str
    label: str
    needs: tuple[str, ...] = ()
    warns: str = ""


def version_of(order_id: int) -> int:
    """The number of the order's last timeline entry: whoever decides must have seen it."""
    return TimelineEntry.objects.filter(order_id=order_id).order_by("-id").values_list("id", flat=True).first() or 0


def choices(saga: Saga, incident_is_open: bool) -> list[Choice]:
    """Every verb that is legal for this saga as it stands."""
    at = engine.standing(saga)
    found: list[Choice] = []
    if at is not None:
        record, undo = at
        if saga.state == SagaState.NEEDS_ATTENTION:
            found += _of_parked(saga, record, undo)
        elif record.state in engine.WAITING:
            found.append(Choice(verb="retry_now", label="Try now instead of waiting"))
            found += _of_doubt(saga, record, undo)
    if incident_is_open:
        found += [
            Choice(verb="assign", label="Say who takes care of it", needs=("owner",)),
            Choice(verb="snooze", label="Look at it later", needs=("until",)),
        ]
    return [*found, Choice(verb="note", label="Leave a note")]


def _of_parked(saga: Saga, record: StepRecord, undo: bool) -> list[Choice]:
    what = f"the undo of {record.name}" if undo else record.name
    found = [Choice(verb="retry", label=f"Try {what} again with a fresh budget")] if engine.step_of(saga, record.name) else []
    found += _of_doubt(saga, record, undo)
    if undo:
        found.append(Choice(verb="undone_by_hand", label=f"{record.name.capitalize()} was undone by hand", needs=("evidence", "amount")))
        left = ledger.remaining(saga.order_id)
        loses = f"{money(left, saga.order.currency)} will be written off" if left else "the ledger balances"
        found.append(Choice(verb="close", label="Close the order as it is", needs=("amount",), warns=loses))
    elif not engine.pivot_succeeded(saga):
        found.append(Choice(verb="start_undo", label="Undo what was done, in reverse order"))
    elif (step := engine.step_of(saga, record.name)) and step.skippable:
        found.append(Choice(verb="skip", label=f"Do without {record.name}", needs=("evidence",)))
    return found


def _of_doubt(saga: Saga, record: StepRecord, undo: bool) -> list[Choice]:
    if engine.is_local(saga, record):
        return []
    found = [Choice(verb="look_up", label=f"Ask the provider what became of {record.name}")] if engine.step_of(saga, record.name) else []
    if not undo and (record.state == StepState.IN_DOUBT or record.doubt):
        found += [
            Choice(verb="it_happened", label=f"{record.name.capitalize()} did happen", needs=("evidence",)),
            Choice(verb="it_did_not", label=f"{record.name.capitalize()} did not happen: run it again under the same key"),
        ]
    return found
