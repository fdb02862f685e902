"""The walk: which step or undo is granted next, when a saga turns back, when it waits for a person, and how it ends."""

from typing import Any

from fulfillment import ledger, stock
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine.attempt_keys import granted_undo, told_of
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.claim import Settled
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.journal import move, save, tell, tell_a_person, tell_order
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import card, is_local, is_newer, planned, step_of
from fulfillment.engine.position import border, pivot_succeeded
from fulfillment.engine.step_states import DONE
from fulfillment.errors import WATCHED_IN_VAIN
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.release import RELEASE
from orders import facts
from orders.attention import IncidentKind
from orders.events import Line, OrderFulfilled, order_fulfilled
from orders.models import Status
from orders.money import money
from orders.text import kept
from orders.timeline import Kind

# Codes of an undo that has ended, and after which a person must say where the money is.
MONEY_REMAINS = "money_remains"  # our ledger still counts it as captured
PAID_ANOTHER_WAY = "paid_another_way"  # a person has said that it was paid, and the provider has never shown it: nobody has given it back
STOPPED = "The worker stopped before an answer came"


def perhaps_called(saga: Saga, record: StepRecord) -> bool:
    """Ever granted, and neither succeeded nor finally rejected: its effect may exist, whatever the state says. Local steps commit with their rows.

    Where the provider does not keep rejections under their key, a rejection settles one try and not the others.
    """
    if is_local(saga, record):
        return False
    if record.state == StepState.REJECTED:
        promise = card(saga, record)
        return step_of(saga, record.name) is None or (promise is not None and not promise.rejection_ends_doubt)
    return record.state in (StepState.GRANTED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)


def grant_next(saga: Saga) -> None:
    at = border(saga)
    if at is None and not _may_end(saga, Status.FULFILLED):
        _leave_what_follows(saga)
        return
    if at is None and (lost := _lost_steps(saga)):
        park(saga, IncidentKind.STUCK, None, "record_lost", f"its journal has lost the record of {', '.join(lost)}")
        return
    if at is None:
        _complete(saga)
        return
    if is_newer(saga) and at[0].state != StepState.PENDING:
        _leave_what_follows(saga)
        return
    move(saga, at[0], StepState.GRANTED, granted_at=ShopNow())
    await_start(saga)


def _may_end(saga: Saga, shown: str) -> bool:
    """Whether this code may close it, its order shown so: newer code may have a status of its own, before the end or as the end."""
    moves = Status.legal_moves().items()
    return not is_newer(saga) or any(saga.order.status == was and shown in targets for was, targets in moves)


def _leave_what_follows(saga: Saga) -> None:
    """Only newer code knows it: due at once. What was settled stays settled."""
    if saga.left_since is None:
        tell(saga, Kind.LEFT, detail={"release": RELEASE, "needs": saga.release})
    save(saga, left_since=saga.left_since or ShopNow(), wake_at=ShopNow(), relaunches=0)


def left_at_its_end(saga: Saga) -> bool:
    """Nothing of it is left to do, and older code has left it to others to close it."""
    return saga.left_since is not None and saga.state in (SagaState.RUNNING, SagaState.COMPENSATING) and border(saga) is None


def close_what_was_left(saga: Saga) -> None:
    (grant_next_undo if saga.is_backward else grant_next)(saga)


def _lost_steps(saga: Saga) -> list[str]:
    """Of its plan: an order is never fulfilled because the record of what is left to do is gone."""
    recorded = {record.name for record in saga.records.all()}
    return [entry["name"] for entry in saga.plan if entry["name"] not in recorded]


def await_start(saga: Saga, **changes: Any) -> None:
    """A step or an undo was granted just now, and its message goes out on commit."""
    save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)), launched_at=ShopNow(), left_since=None, paused_s=0.0, **changes)


def _complete(saga: Saga) -> None:
    """Everything succeeded: the order is fulfilled, the stock has left, and the fact is recorded, all in this transaction.

    What the rest of the shop makes of the fact cannot hold this transaction up: it touches no table of theirs.
    """
    order = saga.order
    stock.consume(order.number)
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPLETED)
    save(saga, state=SagaState.COMPLETED, wake_at=None, closed_at=ShopNow(), relaunches=0, left_since=None)
    tell_order(saga, Status.FULFILLED, finished_at=ShopNow())
    fact = _fulfilled(saga)
    facts.record(fact, order.pk, order.correlation_id)
    order_fulfilled.send(Saga, fact=fact)


def _fulfilled(saga: Saga) -> OrderFulfilled:
    order = saga.order
    receipts: dict[str, Any] = {}
    for record in saga.records.all():
        receipts |= record.receipt or {}
    lines = tuple(Line(sku=line.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor) for line in order.lines.all())
    return OrderFulfilled(
        number=order.number,
        currency=order.currency,
        total_minor=order.total_minor,
        tracking=receipts.get("tracking", ""),
        fulfilled_on=shop_now().date().isoformat(),
        lines=lines,
    )


def put_in_doubt(saga: Saga, record: StepRecord, undo: bool, columns: dict[str, Any], **changes: Any) -> None:
    """A worker died, or hangs, between start and settle: whoever may still run this try is fenced. ``columns`` of the record, ``changes`` of the saga."""
    saga.epoch += 1
    state = StepState.UNDO_IN_DOUBT if undo else StepState.IN_DOUBT
    move(saga, record, state, **columns, claim=None, error_code="stopped", error_message=STOPPED, detail={"message": STOPPED})
    save(saga, epoch=saga.epoch, **changes)


# --- backward ------------------------------------------------------------------------------------------------------------


def turn_back(saga: Saga, why: str = "", failed: StepRecord | None = None) -> None:
    """→ compensating under a new epoch: whatever succeeded or was perhaps called will be undone, in reverse order. Never once the pivot has succeeded.

    ``why`` is kept in the history; without it, the error of the step where the saga stands. ``failed``: the step that is the cause, where it is another one.
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
    for record in saga.records.all():
        if record.state in (StepState.SUCCEEDED, StepState.DONE_BY_HAND):
            move(saga, record, StepState.UNDO_PENDING)
        elif perhaps_called(saga, record):
            move(saga, record, StepState.UNDO_PENDING, doubt=True, claim=None)
        else:
            move(saga, record, StepState.NOT_NEEDED, claim=None)
    saga.epoch += 1
    told = {"message": why or (at.error_message if at else "")}
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATING, code=failure, detail=told)
    save(
        saga,
        state=SagaState.COMPENSATING,
        epoch=saga.epoch,
        failure=failure,
        failed_step="" if saga.cancel_requested_at else name,
        wake_at=ShopNow(),
    )
    grant_next_undo(saga)


def _stands_at(saga: Saga) -> StepRecord | None:
    return next((record for record in saga.records.all() if record.state not in DONE), None)


def grant_next_undo(saga: Saga) -> None:
    """Grant the next undo; or the walk is over: compensated, never while an undo has failed."""
    at = border(saga)
    if at is not None and is_newer(saga) and at[0].state != StepState.UNDO_PENDING:
        _leave_what_follows(saga)
        return
    if at is not None:
        tell_order(saga, Status.COMPENSATING)
        grant_undo(saga, at[0])
        return
    if failed := next((record for record in saga.records.all() if record.state == StepState.UNDO_FAILED), None):
        _park_failed(saga, failed)
        return
    if not _may_end(saga, saga.failure):
        _leave_what_follows(saga)
        return
    if unpaid := _with_money_that_remains(saga):
        left = money(ledger.remaining(saga.order_id), saga.order.currency)
        _park_with_money(saga, unpaid, MONEY_REMAINS, f"Every undo has ended, and our ledger says that {left} is still captured")
        return
    if unseen := next((record for record in saga.records.all() if _was_paid_another_way(saga, record)), None):
        told = f"Nothing was given back: the provider shows nothing, and a person has said that it was paid ({unseen.evidence})"
        _park_with_money(saga, unseen, PAID_ANOTHER_WAY, told)
        return
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATED)
    save(saga, state=SagaState.COMPENSATED, wake_at=None, closed_at=ShopNow(), relaunches=0, left_since=None)
    tell_order(saga, Status(saga.failure), finished_at=ShopNow())


def _with_money_that_remains(saga: Saga) -> StepRecord | None:
    """The step whose money our ledger still counts as captured, whatever its undo has answered."""
    if ledger.remaining(saga.order_id) <= 0:
        return None
    records = list(saga.records.all())
    return next((record for record in reversed(records) if ledger.remaining(saga.order_id, record.name) > 0), records[0])


def _was_paid_another_way(saga: Saga, record: StepRecord) -> bool:
    """By a person's word alone, and its undo has found nothing. What somebody else had given back was there; what was charged to burn its key was not."""
    if record.state != StepState.UNDONE or record.receipt is not None or not record.evidence:
        return False
    undone = record.undo_receipt or {}
    was_there = undone.get("found_undone") or (undone.get("amount_minor") and not undone.get("burnt"))
    return planned(saga, record.name).get("role") == "payments" and not was_there


def _park_with_money(saga: Saga, record: StepRecord, code: str, message: str) -> None:
    """No order ends as compensated with it: its undo counts as failed, and a person says where the money is."""
    move(saga, record, StepState.UNDO_FAILED, claim=None, error_code=code, error_message=kept(message, 300), detail={"message": message})
    _park_failed(saga, record)


def grant_undo(saga: Saga, record: StepRecord, **changes: Any) -> None:
    """Amount and key are fixed together, the amount from the ledger: what remains captured. Where it has changed, or was refused, it is a new attempt."""
    has_amount = (record.receipt or {}).get("amount_minor") is not None
    amount = ledger.remaining(saga.order_id, record.name) if has_amount else None
    if amount == 0:
        move(saga, record, StepState.NOT_NEEDED, claim=None)
        grant_next_undo(saga)
        return
    attempt = granted_undo(saga, record, amount)
    move(saga, record, StepState.UNDO_GRANTED, detail=told_of(attempt), undo_granted_at=ShopNow(), waits=0, **attempt, **changes)
    await_start(saga)


def park_undo(saga: Saga, failed: StepRecord) -> Settled:
    """This undo has failed for good: the walk stops here if it blocks, else goes on and stops at its end."""
    if planned(saga, failed.name).get("undo_blocks"):
        _park_failed(saga, failed)
    else:
        grant_next_undo(saga)
    return Settled(mine=True, turned=launch_of(saga))


def _park_failed(saga: Saga, failed: StepRecord) -> None:
    kind = IncidentKind.IN_DOUBT if failed.error_code == WATCHED_IN_VAIN else IncidentKind.UNDO_EXHAUSTED
    park(saga, kind, failed, failed.error_code, failed.error_message)


# --- a person is told ----------------------------------------------------------------------------------------------------


def park(saga: Saga, kind: IncidentKind, record: StepRecord | None, code: str, message: str) -> None:
    """→ needs_attention under a new epoch, with an incident: what a worker learns from now on is history."""
    if saga.held_by:
        release(saga, record, "a person must decide")
    saga.epoch += 1
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.NEEDS_ATTENTION, code=kind)
    save(saga, state=SagaState.NEEDS_ATTENTION, epoch=saga.epoch, wake_at=None, relaunches=0)
    tell_a_person(saga, kind, record, code, message, at_risk_minor(saga))


def at_risk_minor(saga: Saga) -> int:
    """What remains captured; or the whole total, while nobody knows whether a charge exists."""
    unknown = any(
        record.receipt is None and record.doubt and record.state not in (StepState.UNDONE, StepState.UNDONE_BY_HAND, StepState.NOT_NEEDED)
        for record in saga.records.all()
        if not is_local(saga, record) and planned(saga, record.name).get("role") == "payments"
    )
    return saga.order.total_minor if unknown else ledger.remaining(saga.order_id)
