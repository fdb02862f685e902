"""The engine: open, start, settle, turn back, take over. The only writer of the journal; it never calls a provider and never publishes.

Each function is one transition: it takes the saga's row lock first, checks the fence (``epoch``, and for a settle ``claim``), and writes state and timeline
in one transaction. ``docs/semantics.md`` lists the transitions; ``tests/model`` searches them.

Note: what may be lost. A transaction whose loss only repeats something idempotent (a start; a settle that says Unavailable or InDoubt) does not wait for the disk.
Everything else does: whatever raises the epoch, grants, settles a success or a rejection, or answers a person.
"""

import itertools
import json
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import connection, models, transaction

from fulfillment import stock
from fulfillment.clock import ShopNow, backoff_s, in_seconds, lease_s, patience_s, shop_now
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable, UnknownStep
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.step import Kind as StepKind
from fulfillment.step import Receipt, Undo
from fulfillment.steps import BY_NAME, STEPS
from orders.events import Line, OrderFulfilled, order_fulfilled
from orders.models import Order, Status
from orders.timeline import Kind, TimelineEntry

GRANTED = (StepState.GRANTED, StepState.UNDO_GRANTED)
STARTED = (StepState.STARTED, StepState.UNDO_STARTED)
WAITING = (StepState.RETRY_WAIT, StepState.IN_DOUBT, StepState.UNDO_RETRY_WAIT, StepState.UNDO_IN_DOUBT)
WALKED = (StepState.UNDONE, StepState.NOT_NEEDED)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A chain to publish: the tasks named after ``steps``, forward or ``undo``, under ``epoch``. Publishing it twice, late or never changes nothing but time."""

    saga: int
    epoch: int
    order: str
    undo: bool
    steps: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to settle one try: what a start returns."""

    saga: int
    epoch: int
    order_id: int
    name: str
    undo: bool
    claim: uuid.UUID | None
    key: str
    do_key: str
    tries: int
    receipt: Receipt | None
    undo_amount_minor: int | None

    def undo_of(self, order: Order) -> Undo:
        return Undo(
            key=self.key, do_key=self.do_key, receipt=self.receipt, amount_minor=self.undo_amount_minor, currency=order.currency
        )


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of a settle. ``mine`` False: somebody else owns the step, nothing was written. ``turned``: it met a cancel; publish this undo chain."""

    mine: bool
    turned: Launch | None = None


# --- open ---------------------------------------------------------------------------------------------------------------


def open_saga(order: Order) -> Launch:
    """Open the saga in the caller's transaction, the one that creates the order: plan pinned, first step granted. Publish the result on commit."""
    plan = [{"name": step.name, "version": step.version, "kind": step.kind.value, "local": step.local} for step in STEPS]
    saga = Saga.objects.create(order=order, plan=plan, wake_at=in_seconds(patience_s(0)))
    first = STEPS[0].name
    StepRecord.objects.bulk_create(
        StepRecord(
            saga=saga,
            position=position,
            name=step.name,
            do_key=f"{order.number}:{step.name}:do:1",
            **({"state": StepState.GRANTED, "granted_at": ShopNow()} if step.name == first else {}),
        )
        for position, step in enumerate(STEPS)
    )
    TimelineEntry.objects.bulk_create(
        [
            TimelineEntry(order=order, kind=Kind.ORDER, to_state=Status.PLACED, epoch=1, actor=order.client.get_username()),
            TimelineEntry(order=order, kind=Kind.SAGA, to_state=SagaState.RUNNING, epoch=1),
            TimelineEntry(order=order, kind=Kind.STEP, name=first, from_state=StepState.PENDING, to_state=StepState.GRANTED, epoch=1),
        ]
    )
    return Launch(saga=saga.pk, epoch=1, order=order.number, undo=False, steps=tuple(step.name for step in STEPS))


# --- start --------------------------------------------------------------------------------------------------------------

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
    values = {
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
        may_be_lost(cursor)
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


def may_be_lost(cursor: Any) -> None:
    """This transaction need not wait for the disk: see the note above. PostgreSQL forgets the setting at its end."""
    cursor.execute("SELECT set_config('synchronous_commit', 'off', true)")


# --- settle -------------------------------------------------------------------------------------------------------------


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
            with connection.cursor() as cursor:
                may_be_lost(cursor)
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
            saga = _locked(saga_id)
            claim = _local_claim(saga, epoch, name, undo)
            if claim is None:
                return Settled(mine=False)
            step, order = BY_NAME[name], saga.order
            receipt = step.compensate(order, claim.undo_of(order)) if undo else step.execute(order, claim.key)
            return _succeed(saga, name, receipt, undo)
    except Rejected as error:
        _settle_local_failure(saga_id, epoch, name, undo, error)
        raise
    except Exception as error:
        failed = Unavailable(f"{type(error).__name__}: nothing was changed", code="local_error")
        _settle_local_failure(saga_id, epoch, name, undo, failed)
        raise failed from error


def _settle_local_failure(saga_id: int, epoch: int, name: str, undo: bool, error: StepError) -> None:
    with transaction.atomic():
        saga = _locked(saga_id)
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
    saga = _locked(claim.saga)
    record = record_of(saga, claim.name)
    started = StepState.UNDO_STARTED if claim.undo else StepState.STARTED
    mine = saga.epoch == claim.epoch and record.state == started and record.claim == claim.claim
    return saga if mine else None


def _came_too_late(claim: Claim, learned: StepState) -> None:
    TimelineEntry.objects.create(order_id=claim.order_id, kind=Kind.LATE, name=claim.name, to_state=learned, epoch=claim.epoch)


def _succeed(saga: Saga, name: str, receipt: Receipt | None, undo: bool) -> Settled:
    record = record_of(saga, name)
    saga.relaunches = 0
    if undo:
        _move(saga, record, StepState.UNDONE, claim=None, settled_at=ShopNow(), error_code="", error_message="")
        _grant_next_undo(saga)
        return Settled(mine=True)
    _move(saga, record, StepState.SUCCEEDED, receipt=receipt, claim=None, settled_at=ShopNow(), error_code="", error_message="")
    if saga.cancel_requested_at and BY_NAME[name].kind is StepKind.PIVOT:
        saga.cancel_requested_at = None
        _tell(saga, Kind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at:
        _turn_back(saga)
        return Settled(mine=True, turned=launch_of(saga))
    _grant_next(saga)
    return Settled(mine=True)


def _fail(saga: Saga, claim: Claim, error: StepError) -> None:
    record, undo = record_of(saga, claim.name), claim.undo
    state = _state_after(error, undo)
    tries = claim.tries - isinstance(error, Busy)
    counted: dict[str, Any] = {"undo_tries": tries} if undo else {"tries": tries}
    doubt = record.doubt or isinstance(error, InDoubt)
    _move(
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
    _save(saga, relaunches=0, wake_at=in_seconds(wait))


def _state_after(error: StepError, undo: bool) -> StepState:
    """A rejected undo is tried again: only a person may end it otherwise."""
    if undo:
        return StepState.UNDO_IN_DOUBT if isinstance(error, InDoubt) else StepState.UNDO_RETRY_WAIT
    if isinstance(error, Rejected):
        return StepState.REJECTED
    return StepState.IN_DOUBT if isinstance(error, InDoubt) else StepState.RETRY_WAIT


# --- the walk: what comes next, forward and backward ----------------------------------------------------------------------


def border(saga: Saga) -> tuple[StepRecord, bool] | None:
    """The record where the saga stands, and whether it is to be undone; None once it is closed."""
    records = list(saga.records.all())
    if saga.state == SagaState.RUNNING:
        return next(((record, False) for record in records if record.state != StepState.SUCCEEDED), None)
    if saga.state == SagaState.COMPENSATING:
        return next(((record, True) for record in reversed(records) if record.state not in WALKED), None)
    return None


def launch_of(saga: Saga) -> Launch | None:
    """What is left as one chain: only the steps that this code knows, because Celery drops a task of an unknown name without a word."""
    at = border(saga)
    if at is None or at[0].state not in GRANTED:
        return None
    undo = at[1]
    left = [record for record in saga.records.all() if record.state not in (StepState.SUCCEEDED, *WALKED)]
    names = [record.name for record in (reversed(left) if undo else left)]
    known = tuple(itertools.takewhile(BY_NAME.__contains__, names))
    return Launch(saga=saga.pk, epoch=saga.epoch, order=saga.order.number, undo=undo, steps=known) if known else None


def perhaps_called(record: StepRecord) -> bool:
    """Ever granted, and neither succeeded nor finally rejected: its effect may exist, whatever the state says. Local steps commit with their rows."""
    unsettled = (StepState.GRANTED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)
    local = record.name in BY_NAME and BY_NAME[record.name].local
    return record.state in unsettled and not local


def _grant_next(saga: Saga) -> None:
    at = border(saga)
    if at is None:
        _complete(saga)
        return
    _move(saga, at[0], StepState.GRANTED, granted_at=ShopNow())
    _save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)))


def _complete(saga: Saga) -> None:
    """Everything succeeded: the order is fulfilled, the stock has left, and the fact is sent, all in this transaction."""
    order = saga.order
    stock.consume(order.number)
    _tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPLETED)
    _save(saga, state=SagaState.COMPLETED, wake_at=None, closed_at=ShopNow(), relaunches=0)
    _finish_order(saga, Status.FULFILLED)
    order_fulfilled.send(Saga, payload=_fulfilled(saga), order=order)


def _fulfilled(saga: Saga) -> OrderFulfilled:
    order = saga.order
    receipts: dict[str, Any] = {}
    for record in saga.records.all():
        receipts |= record.receipt or {}
    lines = tuple(Line(sku=line.sku, name=line.name, quantity=line.quantity, unit_price_minor=line.unit_price_minor) for line in order.lines.all())
    return OrderFulfilled(
        number=order.number,
        email=order.customer_email,
        name=order.customer_name,
        currency=order.currency,
        total_minor=order.total_minor,
        tracking=receipts.get("tracking", ""),
        fulfilled_on=shop_now().date().isoformat(),
        lines=lines,
    )


def _turn_back(saga: Saga) -> None:
    """running → compensating under a new epoch: whatever succeeded or was perhaps called will be undone, in reverse order."""
    at = border(saga)
    failed_step = at[0].name if at else ""
    failure = Status.CANCELLED if saga.cancel_requested_at else Status.failure_of(failed_step)
    for record in saga.records.all():
        if record.state == StepState.SUCCEEDED:
            _move(saga, record, StepState.UNDO_PENDING)
        elif perhaps_called(record):
            _move(saga, record, StepState.UNDO_PENDING, doubt=True, claim=None)
        else:
            _move(saga, record, StepState.NOT_NEEDED, claim=None)
    saga.epoch += 1
    _tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATING, code=failure)
    _save(saga, state=SagaState.COMPENSATING, epoch=saga.epoch, failure=failure)
    _grant_next_undo(saga)


def _grant_next_undo(saga: Saga) -> None:
    """Grant the next undo, its key and amount fixed together from what was stored at success; or the walk is over."""
    at = border(saga)
    if at is None:
        _tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATED)
        _save(saga, state=SagaState.COMPENSATED, wake_at=None, closed_at=ShopNow(), relaunches=0)
        _finish_order(saga, Status(saga.failure))
        return
    record = at[0]
    if saga.order.move(Status.COMPENSATING):
        _tell(saga, Kind.ORDER, to_state=Status.COMPENSATING)
    _move(
        saga,
        record,
        StepState.UNDO_GRANTED,
        undo_key=f"{saga.order.number}:{record.name}:undo:1",
        undo_amount_minor=(record.receipt or {}).get("amount_minor"),
        undo_granted_at=ShopNow(),
    )
    _save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)))


def _finish_order(saga: Saga, status: Status) -> None:
    if saga.order.move(status, finished_at=ShopNow()):
        _tell(saga, Kind.ORDER, to_state=status)


# --- what the sweep, an errback, a cancel do --------------------------------------------------------------------------------


def meet_cancel(saga_id: int, epoch: int) -> Launch | None:
    """A start that found nothing to start: if that is because of a cancel, turn back in the same task."""
    with transaction.atomic():
        saga = _locked(saga_id)
        at = border(saga)
        stands = at is not None and at[0].state == StepState.GRANTED
        if saga.epoch != epoch or saga.state != SagaState.RUNNING or not saga.cancel_requested_at or not stands:
            return None
        _turn_back(saga)
        return launch_of(saga)


def chain_stopped(saga_id: int, epoch: int) -> Launch | None:
    """An errback fired. It means only "the chain stopped here": read the journal, then act. Twice is once; a missing one costs a lease."""
    with transaction.atomic():
        saga = _locked(saga_id)
        at = border(saga)
        if saga.epoch != epoch or at is None:
            return None
        record, undo = at
        if record.state == StepState.REJECTED:
            _turn_back(saga)
            return launch_of(saga)
        if record.state in STARTED:
            _put_in_doubt(saga, record, undo)
        elif record.state in GRANTED and saga.relaunches == 0:
            return _relaunch(saga)
        return None


def _put_in_doubt(saga: Saga, record: StepRecord, undo: bool) -> None:
    """This try stopped between start and settle; whoever may still run it is fenced, and its key makes it one effect."""
    tries = record.undo_tries if undo else record.tries
    saga.epoch += 1
    state = StepState.UNDO_IN_DOUBT if undo else StepState.IN_DOUBT
    _move(saga, record, state, doubt=True, claim=None, error_code="stopped", error_message="The worker stopped before an answer came")
    _save(saga, epoch=saga.epoch, wake_at=in_seconds(0.0 if saga.cancel_requested_at and not undo else backoff_s(tries)))


def look(saga: Saga) -> Launch | None:
    """What the sweep does with a locked saga that is due: turn back, take over, grant a retry, or publish the same message again."""
    at = border(saga)
    if at is None:
        return None
    record, undo = at
    if not undo and (saga.cancel_requested_at or record.state == StepState.REJECTED):
        _turn_back(saga)
        return launch_of(saga)
    if record.name not in BY_NAME:
        return _wait_for_code(saga, record)
    if record.state in GRANTED:
        return _relaunch(saga)
    return _grant_again(saga, record, undo)


def _relaunch(saga: Saga) -> Launch | None:
    """Granted and never started: the same message under the same epoch, so whichever arrives first wins."""
    relaunches = saga.relaunches + 1
    at = border(saga)
    _tell(saga, Kind.RELAUNCH, name=at[0].name if at else "")
    _save(saga, relaunches=relaunches, wake_at=in_seconds(patience_s(relaunches)))
    return launch_of(saga)


def _grant_again(saga: Saga, record: StepRecord, undo: bool) -> Launch | None:
    """Started and past its lease (a take-over), or a retry that is due: granted under the next epoch; the key stays the same."""
    taken_over = record.state in STARTED
    saga.epoch += 1
    if taken_over:
        _tell(saga, Kind.TAKE_OVER, name=record.name)
    doubt = record.doubt or taken_over
    _move(saga, record, StepState.UNDO_GRANTED if undo else StepState.GRANTED, doubt=doubt, claim=None)
    _save(saga, epoch=saga.epoch, wake_at=in_seconds(patience_s(saga.relaunches)))
    return launch_of(saga)


def _wait_for_code(saga: Saga, record: StepRecord) -> None:
    """A step that this code does not know waits, and says so once; nothing is launched that Celery would drop."""
    if record.error_code != "unknown_step":
        message = f"This code has no step named {record.name!r}"
        _move(saga, record, StepState(record.state), error_code="unknown_step", error_message=message, detail={"message": message})
    relaunches = saga.relaunches + 1
    _save(saga, relaunches=relaunches, wake_at=in_seconds(backoff_s(relaunches)))


def request_cancel(saga: Saga, actor: str) -> str:
    """Record a cancel at the locked saga. Says "accepted", "already" (a cancel or an undo is under way) or "too_late" (shipped, or closed)."""
    if saga.state == SagaState.COMPENSATING or saga.cancel_requested_at or saga.failure == Status.CANCELLED:
        return "already"
    shipped = any(record.state == StepState.SUCCEEDED and _is_pivot(record) for record in saga.records.all())
    at = border(saga)
    if at is None or shipped:
        return "too_late"
    waits = at[0].state in WAITING + GRANTED
    _tell(saga, Kind.CANCEL, to_state="requested", actor=actor)
    _save(saga, cancel_requested_at=ShopNow(), **({"wake_at": ShopNow()} if waits else {}))
    return "accepted"


def _is_pivot(record: StepRecord) -> bool:
    return record.name in BY_NAME and BY_NAME[record.name].kind is StepKind.PIVOT


# --- rows -------------------------------------------------------------------------------------------------------------------


def _locked(saga_id: int) -> Saga:
    """The saga under its row lock, with its order and its records read after the lock was granted. Raises Saga.DoesNotExist."""
    return locking(Saga.objects.filter(pk=saga_id)).get()


def locking(sagas: models.QuerySet[Saga], skip_locked: bool = False) -> models.QuerySet[Saga]:
    return sagas.select_for_update(of=("self",), skip_locked=skip_locked).select_related("order").prefetch_related("records")


def record_of(saga: Saga, name: str) -> StepRecord:
    """Raises UnknownStep: the journal of this saga has no such step."""
    for record in saga.records.all():
        if record.name == name:
            return record
    raise UnknownStep(f"Saga {saga.pk} has no step named {name!r}", code="unknown_step")


def _move(saga: Saga, record: StepRecord, to: StepState, *, detail: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write a record's state and its line of history, and keep the objects in memory true."""
    code = changes.get("error_code", "")
    _tell(saga, Kind.STEP, name=record.name, from_state=record.state, to_state=to, code=code, detail=detail or {})
    StepRecord.objects.filter(pk=record.pk).update(state=to, **changes)
    for field, value in {"state": to, **changes}.items():
        setattr(record, field, value)


def _save(saga: Saga, **changes: Any) -> None:
    Saga.objects.filter(pk=saga.pk).update(**changes)
    for field, value in changes.items():
        setattr(saga, field, value)


def _tell(saga: Saga, kind: Kind, **columns: Any) -> None:
    TimelineEntry.objects.create(order_id=saga.order_id, kind=kind, epoch=saga.epoch, **columns)
