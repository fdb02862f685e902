"""One try of a step or an undo: start (claim it), settle (write what became of it and grant what comes next); or, on our own rows, both in one."""

import json
import uuid
from typing import Any

from django.db import connection, transaction

from fulfillment.clock import ShopNow, backoff_s, in_seconds, lease_s, patience_s
from fulfillment.engine.journal import (
    Claim,
    Settled,
    launch_of,
    locked,
    move,
    record_of,
    save,
    tell,
)
from fulfillment.engine.walking import grant_next, grant_next_undo, turn_back
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable
from fulfillment.models import Saga, SagaState, StepState
from fulfillment.step import Kind as StepKind
from fulfillment.step import Receipt
from fulfillment.steps import BY_NAME
from orders.durability import may_be_lost
from orders.timeline import Kind, TimelineEntry

# One statement: lock the saga if this epoch and direction still hold, start the granted step under a random claim, move wake_at to the end of the lease,
# write the history, and move a placed order to processing. The saga's row is locked first, as everywhere, so that no two transitions can deadlock.
START = """
WITH mine AS (
    SELECT id, order_id, epoch FROM fulfillment_saga
    WHERE id = %(saga)s AND epoch = %(epoch)s AND state = %(direction)s AND (%(undo)s OR cancel_requested_at IS NULL)
    FOR UPDATE
), started AS (
    UPDATE fulfillment_steprecord AS r
    SET state = %(started)s, claim = %(claim)s, started_at = shop_now(),
        tries = tries + CASE WHEN %(undo)s THEN 0 ELSE 1 END, undo_tries = undo_tries + CASE WHEN %(undo)s THEN 1 ELSE 0 END
    FROM mine WHERE r.saga_id = mine.id AND r.name = %(name)s AND r.state = %(granted)s
    RETURNING r.saga_id, r.do_key, r.undo_key, r.tries, r.undo_tries, r.receipt, r.undo_amount_minor
), leased AS (
    UPDATE fulfillment_saga SET wake_at = shop_now() + %(lease)s * interval '1 second' WHERE id IN (SELECT saga_id FROM started)
), moved AS (
    UPDATE orders_order SET status = 'processing'
    WHERE status = 'placed' AND id IN (SELECT order_id FROM mine JOIN started ON started.saga_id = mine.id)
    RETURNING id
), told AS (
    INSERT INTO orders_timelineentry (order_id, at, kind, name, from_state, to_state, epoch, code, detail, actor)
    SELECT order_id, shop_now(), 'step', %(name)s, %(granted)s, %(started)s, epoch, '', '{}'::jsonb, '' FROM mine JOIN started ON started.saga_id = mine.id
    UNION ALL
    SELECT id, shop_now(), 'order', '', 'placed', 'processing', %(epoch)s, '', '{}'::jsonb, '' FROM moved
)
SELECT mine.order_id, started.do_key, started.undo_key, started.tries, started.undo_tries, started.receipt::text, started.undo_amount_minor
FROM mine JOIN started ON started.saga_id = mine.id
"""


def start(saga_id: int, epoch: int, name: str, undo: bool) -> Claim | None:
    """Claim the granted step for this process, or None: a duplicate, an older epoch, or a cancel. Does not wait for the disk."""
    claim = uuid.uuid4()
    values: dict[str, Any] = {
        "saga": saga_id,
        "epoch": epoch,
        "name": name,
        "undo": undo,
        "claim": claim,
        "lease": lease_s(),
        "direction": SagaState.COMPENSATING if undo else SagaState.RUNNING,
        "granted": StepState.UNDO_GRANTED if undo else StepState.GRANTED,
        "started": StepState.UNDO_STARTED if undo else StepState.STARTED,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        may_be_lost()
        cursor.execute(START, values)
        row = cursor.fetchone()
    if row is None:
        return None
    order_id, do_key, undo_key, tries, undo_tries, receipt, amount = row
    return Claim(
        saga=saga_id,
        epoch=epoch,
        order_id=order_id,
        name=name,
        undo=undo,
        claim=claim,
        key=undo_key if undo else do_key,
        do_key=do_key,
        tries=undo_tries if undo else tries,
        receipt=json.loads(receipt) if receipt else None,
        undo_amount_minor=amount,
    )


def settle_success(claim: Claim, receipt: Receipt | None) -> Settled:
    """Write what a call (or an undo) achieved and grant what comes next, in one commit; or, if somebody else owns the step, one line of history."""
    with transaction.atomic():
        saga = _fenced(claim)
        if saga is None:
            _came_too_late(claim, StepState.UNDONE if claim.undo else StepState.SUCCEEDED)
            return Settled(mine=False)
        return _succeed(saga, claim.name, receipt, claim.undo)


def settle_failure(claim: Claim, error: StepError) -> bool:
    """Write that a try was rejected (final), unavailable, or is in doubt; the latter two wait for their back-off. False: somebody else owns the step."""
    rejected = isinstance(error, Rejected) and not claim.undo
    with transaction.atomic():
        if not rejected:
            may_be_lost()
        saga = _fenced(claim)
        if saga is None:
            _came_too_late(claim, _state_after(error, claim.undo))
            return False
        _fail(saga, claim, error)
    return True


def run_local(saga_id: int, epoch: int, name: str, undo: bool) -> Settled:
    """A step on our own rows: the start's checks, the work, the settle and the next grant in ONE transaction.

    Raises Rejected, or Unavailable for whatever else went wrong: settled in a second transaction, after the first one was rolled back whole.
    """
    try:
        with transaction.atomic():
            saga = locked(saga_id)
            claim = _local_claim(saga, epoch, name, undo)
            if claim is None:
                return Settled(mine=False)
            step, order = BY_NAME[name], saga.order
            receipt: Receipt | None = None
            if undo:
                step.compensate(order, claim.undo_of(order))
            else:
                receipt = step.execute(order, claim.key)
            _count_try(saga, claim)
            return _succeed(saga, name, receipt, undo)
    except Rejected as error:
        _settle_local_failure(saga_id, epoch, name, undo, error)
        raise
    except Exception as error:
        failed = Unavailable(f"{type(error).__name__}: nothing was changed", code="local_error")
        _settle_local_failure(saga_id, epoch, name, undo, failed)
        raise failed from error


def _count_try(saga: Saga, claim: Claim) -> None:
    """A local step has no start that counts it."""
    counter = "undo_tries" if claim.undo else "tries"
    setattr(record_of(saga, claim.name), counter, claim.tries)


def _settle_local_failure(saga_id: int, epoch: int, name: str, undo: bool, error: StepError) -> None:
    with transaction.atomic():
        saga = locked(saga_id)
        claim = _local_claim(saga, epoch, name, undo)
        if claim is not None:
            _fail(saga, claim, error)


def _local_claim(saga: Saga, epoch: int, name: str, undo: bool) -> Claim | None:
    record = record_of(saga, name)
    wanted = (SagaState.COMPENSATING, StepState.UNDO_GRANTED) if undo else (SagaState.RUNNING, StepState.GRANTED)
    if saga.epoch != epoch or (saga.state, record.state) != wanted or (saga.cancel_requested_at and not undo):
        return None
    return Claim(
        saga=saga.pk,
        epoch=epoch,
        order_id=saga.order_id,
        name=name,
        undo=undo,
        claim=None,
        key=record.undo_key if undo else record.do_key,
        do_key=record.do_key,
        tries=(record.undo_tries if undo else record.tries) + 1,
        receipt=record.receipt,
        undo_amount_minor=record.undo_amount_minor,
    )


def _fenced(claim: Claim) -> Saga | None:
    """The locked saga, if the claim may still settle: its epoch holds and the record still carries this very start."""
    saga = locked(claim.saga)
    record = record_of(saga, claim.name)
    started = StepState.UNDO_STARTED if claim.undo else StepState.STARTED
    mine = saga.epoch == claim.epoch and record.state == started and record.claim == claim.claim
    return saga if mine else None


def _came_too_late(claim: Claim, learned: StepState) -> None:
    TimelineEntry.objects.create(order_id=claim.order_id, kind=Kind.LATE, name=claim.name, to_state=learned, epoch=claim.epoch)


def _succeed(saga: Saga, name: str, receipt: Receipt | None, undo: bool) -> Settled:
    record = record_of(saga, name)
    saga.relaunches = 0
    counted: dict[str, Any] = {"tries": record.tries, "undo_tries": record.undo_tries}
    if undo:
        move(saga, record, StepState.UNDONE, **counted, claim=None, settled_at=ShopNow(), error_code="", error_message="")
        grant_next_undo(saga)
        return Settled(mine=True)
    move(saga, record, StepState.SUCCEEDED, **counted, receipt=receipt, claim=None, settled_at=ShopNow(), error_code="", error_message="")
    if saga.cancel_requested_at and BY_NAME[name].kind is StepKind.PIVOT:
        saga.cancel_requested_at = None
        tell(saga, Kind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at:
        turn_back(saga)
        return Settled(mine=True, turned=launch_of(saga))
    grant_next(saga)
    return Settled(mine=True)


def _fail(saga: Saga, claim: Claim, error: StepError) -> None:
    record, undo = record_of(saga, claim.name), claim.undo
    state = _state_after(error, undo)
    tries = claim.tries - isinstance(error, Busy)
    counted: dict[str, Any] = {"undo_tries": tries} if undo else {"tries": tries}
    doubt = record.doubt or isinstance(error, InDoubt)
    move(
        saga,
        record,
        state,
        **counted,
        doubt=doubt,
        claim=None,
        settled_at=ShopNow(),
        error_code=error.code[:60],
        error_message=str(error)[:300],
        detail={"message": str(error)[:300]},
    )
    if state is StepState.REJECTED:
        wait = patience_s(0)
    elif saga.cancel_requested_at and not undo:
        wait = 0.0
    else:
        wait = backoff_s(tries)
    save(saga, relaunches=0, wake_at=in_seconds(wait))


def _state_after(error: StepError, undo: bool) -> StepState:
    """A rejected undo is tried again: only a person may end it otherwise."""
    if undo:
        return StepState.UNDO_IN_DOUBT if isinstance(error, InDoubt) else StepState.UNDO_RETRY_WAIT
    if isinstance(error, Rejected):
        return StepState.REJECTED
    return StepState.IN_DOUBT if isinstance(error, InDoubt) else StepState.RETRY_WAIT
