"""Compensation: a saga that turns back compensates every step that succeeded or was perhaps called, in reverse order, each within a budget of its own.

The order shows its failure only when every compensation has ended. "Compensated" is never said while one has failed, or while our ledger still counts money.
"""

from typing import Any

from fulfillment import ledger
from fulfillment.clock import ShopNow
from fulfillment.engine.attempt_keys import entry_detail, scheduled_compensation
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.claim import Recorded
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, keep_failure_code, move, save, set_order_status
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import capabilities, is_local, is_newer, planned, step_of
from fulfillment.engine.position import border, pivot_succeeded
from fulfillment.engine.progress import await_start
from fulfillment.engine.rolling_deploys import leave_what_follows, may_end
from fulfillment.engine.step_states import DONE
from fulfillment.errors import WATCHED_IN_VAIN
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.incidents import IncidentKind
from orders.models import Status
from orders.money import money
from orders.text import sanitized
from orders.timeline import EntryKind

# Codes of a compensation that has ended, and after which a person must say where the money is.
MONEY_REMAINS = "money_remains"  # our ledger still counts it as captured
PAID_ANOTHER_WAY = "paid_another_way"  # a person has said that it was paid, and the provider has never shown it: nobody has given it back


# --- turning back --------------------------------------------------------------------------------------------------------


def turn_back(saga: Saga, why: str = "", failed: StepRecord | None = None, code: str = "") -> None:
    """→ compensating under a new epoch. Never once the pivot has succeeded: then a person decides.

    ``why`` and ``code`` are kept; without them, the error of the step where the saga stands. ``failed``: the step that is the cause, where it is another one.
    """
    if pivot_succeeded(saga):
        park(saga, IncidentKind.STUCK, _stands_at(saga), "after_pivot", "the parcel is on its way, so it can only go forward")
        return
    at = failed or _stands_at(saga)
    if saga.held_by:
        release(saga, at, "the order turns back")
    name = at.name if at else ""
    failure = Status.CANCELLED if saga.cancel_requested_at else Status.failure_of(name)
    if at is not None:
        goes_on(saga, at)
    _mark_records(saga)
    saga.epoch += 1
    detail = {"message": why or (at.error_message if at else "")}
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATING, code=failure, detail=detail)
    save(
        saga,
        state=SagaState.COMPENSATING,
        epoch=saga.epoch,
        failure=failure,
        failed_step="" if saga.cancel_requested_at else name,
        wake_at=ShopNow(),
    )
    if not saga.cancel_requested_at:
        keep_failure_code(saga, code or (at.error_code if at else ""))
    schedule_next_compensation(saga)


def _stands_at(saga: Saga) -> StepRecord | None:
    return next((record for record in saga.records.all() if record.state not in DONE), None)


def _mark_records(saga: Saga) -> None:
    for record in saga.records.all():
        if record.state in (StepState.SUCCEEDED, StepState.DONE_BY_HAND):
            move(saga, record, StepState.COMPENSATION_PENDING)
        elif perhaps_called(saga, record):
            move(saga, record, StepState.COMPENSATION_PENDING, doubt=True, claim=None)
        else:
            move(saga, record, StepState.NOT_NEEDED, claim=None)


def perhaps_called(saga: Saga, record: StepRecord) -> bool:
    """The step was scheduled at some time, and has neither succeeded nor finally been rejected. Its effect may exist, whatever the state says.

    A local step leaves nothing behind, because it commits together with its rows. Where the provider does not keep rejections under their key, a rejection ends
    one try, and says nothing about the others.
    """
    if is_local(saga, record):
        return False
    if record.state == StepState.REJECTED:
        promise = capabilities(saga, record)
        return step_of(saga, record.name) is None or (promise is not None and not promise.rejection_ends_doubt)
    return record.state in (StepState.SCHEDULED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)


# --- one compensation after the other --------------------------------------------------------------------------------------


def schedule_next_compensation(saga: Saga) -> None:
    """Schedule the next compensation; or all have ended, and the saga is compensated. It is not while one has failed."""
    at = border(saga)
    if at is not None and is_newer(saga) and at[0].state != StepState.COMPENSATION_PENDING:
        leave_what_follows(saga)
        return
    if at is not None:
        set_order_status(saga, Status.COMPENSATING)
        schedule_compensation(saga, at[0])
        return
    if failed := next((record for record in saga.records.all() if record.state == StepState.COMPENSATION_FAILED), None):
        _park_failed(saga, failed)
        return
    if not may_end(saga, saga.failure):
        leave_what_follows(saga)
        return
    if not _parked_over_money(saga):
        _end(saga)


def schedule_compensation(saga: Saga, record: StepRecord, **changes: Any) -> None:
    """Key and amount are fixed together. The amount is what our ledger says remains captured. A changed amount, or a refused attempt, makes a new attempt."""
    has_amount = (record.receipt or {}).get("amount_minor") is not None
    amount = ledger.remaining(saga.order_id, record.name) if has_amount else None
    if amount == 0:
        move(saga, record, StepState.NOT_NEEDED, claim=None)
        schedule_next_compensation(saga)
        return
    attempt = scheduled_compensation(saga, record, amount)
    move(
        saga,
        record,
        StepState.COMPENSATION_SCHEDULED,
        detail=entry_detail(attempt),
        compensation_scheduled_at=ShopNow(),
        waits=0,
        **attempt,
        **changes,
    )
    await_start(saga)


def park_compensation(saga: Saga, failed: StepRecord) -> Recorded:
    """This compensation has failed for good. If it blocks, everything stops here; else the others go on, and the saga stops at its end."""
    if planned(saga, failed.name).get("compensation_blocks"):
        _park_failed(saga, failed)
    else:
        schedule_next_compensation(saga)
    return Recorded(mine=True, turned=launch_of(saga))


def _park_failed(saga: Saga, failed: StepRecord) -> None:
    kind = IncidentKind.IN_DOUBT if failed.error_code == WATCHED_IN_VAIN else IncidentKind.COMPENSATION_EXHAUSTED
    park(saga, kind, failed, failed.error_code, failed.error_message)


# --- the end -------------------------------------------------------------------------------------------------------------


def _end(saga: Saga) -> None:
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATED)
    save(saga, state=SagaState.COMPENSATED, wake_at=None, closed_at=ShopNow(), relaunches=0, left_since=None)
    set_order_status(saga, Status(saga.failure), finished_at=ShopNow())


def _parked_over_money(saga: Saga) -> bool:
    """True: every compensation has ended, and a person must still say where some money is."""
    if unpaid := _with_money_that_remains(saga):
        left = money(ledger.remaining(saga.order_id), saga.order.currency)
        _park_with_money(saga, unpaid, MONEY_REMAINS, f"Every undo has ended, and our ledger says that {left} is still captured")
        return True
    if unseen := next((record for record in saga.records.all() if _was_paid_another_way(saga, record)), None):
        message = f"Nothing was given back: the provider shows nothing, and a person has said that it was paid ({unseen.evidence})"
        _park_with_money(saga, unseen, PAID_ANOTHER_WAY, message)
        return True
    return False


def _with_money_that_remains(saga: Saga) -> StepRecord | None:
    """The step whose money our ledger still counts as captured, whatever its compensation has answered."""
    if ledger.remaining(saga.order_id) <= 0:
        return None
    records = list(saga.records.all())
    return next((record for record in reversed(records) if ledger.remaining(saga.order_id, record.name) > 0), records[0])


def _was_paid_another_way(saga: Saga, record: StepRecord) -> bool:
    """Only a person has said that it was paid, and its compensation has found nothing.

    What somebody else had given back before was there. What was charged only to burn its key was not.
    """
    if record.state != StepState.COMPENSATED or record.receipt is not None or not record.evidence:
        return False
    compensated = record.compensation_receipt or {}
    was_there = compensated.get("found_compensated") or (compensated.get("amount_minor") and not compensated.get("burnt"))
    return planned(saga, record.name).get("role") == "payments" and not was_there


def _park_with_money(saga: Saga, record: StepRecord, code: str, message: str) -> None:
    """The compensation of this step counts as failed, and a person says where the money is."""
    move(
        saga,
        record,
        StepState.COMPENSATION_FAILED,
        claim=None,
        error_code=code,
        error_message=sanitized(message, 300),
        detail={"message": message},
    )
    _park_failed(saga, record)
