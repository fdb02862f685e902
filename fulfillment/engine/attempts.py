"""One try of a step or an undo: start (claim it), settle (write what became of it and grant what comes next); or, on our own rows, both in one."""

import json
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from fulfillment import circuit as circuits
from fulfillment import ledger
from fulfillment.clock import ShopNow, backoff_s, in_seconds, lease_s, patience_s
from fulfillment.crashpoints import ANY, crash_point
from fulfillment.engine.attempt_keys import nothing_was_sent, refusal_of
from fulfillment.engine.budget import LATE_AFTER_S, give_back_what_its_worker_lost, give_back_what_was_lost, most_given_back, tries_spent
from fulfillment.engine.circuit_holds import hold, release
from fulfillment.engine.claim import Claim, Settled
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.differing_answers import fix_anew, settle_difference
from fulfillment.engine.journal import find_locked, locked, move, record_of, save, tell, tell_order
from fulfillment.engine.late_outcomes import came_too_late
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import is_newer, is_pivot, planned, step_of
from fulfillment.engine.progress import grant_next, grant_next_undo, park_undo, turn_back
from fulfillment.engine.rolling_deploys import drop
from fulfillment.engine.transition import transition
from fulfillment.errors import LAG, OWN_DATABASE, Busy, Changed, Differs, InDoubt, Rejected, StepError, Throttled, Unavailable, UnknownStep
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.step import Receipt
from orders.database import is_our_trouble, wait_for_locks
from orders.durability import may_be_lost
from orders.models import Status
from orders.timeline import Kind
from orders.watch import ClockWatch

BRIEFLY_S = 0.05

watch = ClockWatch(settings.CLOCK_TOLERANCE_S)  # this process's own: what was asked before is past only if it has seen it pass

# One statement: lock the saga if this epoch and direction still hold, start the granted step under a random claim, move wake_at to the end of the lease,
# write the history, and move a placed order to processing. The saga's row is locked first, as everywhere, so that no two transitions can deadlock.
# Before an open circuit nothing starts but its probe, whose time is then that of its lease. The time that its message waited in a long queue is given back: to the
# saga, and to what was started before; a step's own deadline runs from its first start. A later attempt is told of those before it.
START = """
WITH mine AS (
    SELECT id, order_id, epoch, plan, held_by, (
        SELECT (entry->>'role') || '.' || (entry->>'gateway') || %(operation)s FROM jsonb_array_elements(plan) AS entry WHERE entry->>'name' = %(name)s
    ) AS circuit,
        CASE WHEN held_by = '' AND shop_now() - launched_at > %(late_after)s THEN least(shop_now() - launched_at, %(most)s) ELSE interval '0' END AS lost
    FROM fulfillment_saga
    WHERE id = %(saga)s AND epoch = %(epoch)s AND state = %(direction)s AND (%(undo)s OR cancel_requested_at IS NULL)
    FOR UPDATE
), was AS (
    SELECT r.id, r.asked_until, r.undo_asked_until, NOT %(undo)s AND r.first_started_at IS NULL AS is_first, c.name AS circuit,
        c.state <> 'closed' OR c.failures <> '[]' AS troubled, c.probe = mine.id AND c.probe_until > shop_now() AS is_probe
    FROM fulfillment_steprecord AS r JOIN mine ON r.saga_id = mine.id LEFT JOIN fulfillment_circuit AS c ON c.name = mine.circuit
    WHERE r.name = %(name)s AND r.state = %(granted)s
        AND ((mine.held_by = '' AND coalesce(c.state, 'closed') = 'closed') OR (c.probe = mine.id AND c.probe_until > shop_now()))
    FOR UPDATE OF r
), started AS (
    UPDATE fulfillment_steprecord AS r
    SET state = %(started)s, claim = %(claim)s, started_at = shop_now(),
        first_started_at = CASE WHEN %(undo)s THEN r.first_started_at ELSE coalesce(r.first_started_at, shop_now()) END,
        asked_until = CASE WHEN %(undo)s THEN r.asked_until ELSE shop_now() + %(lease)s END,
        undo_asked_until = CASE WHEN %(undo)s THEN shop_now() + %(lease)s ELSE r.undo_asked_until END,
        tries = r.tries + CASE WHEN %(undo)s THEN 0 ELSE 1 END, undo_tries = r.undo_tries + CASE WHEN %(undo)s THEN 1 ELSE 0 END
    FROM was WHERE r.id = was.id
    RETURNING r.*
), leased AS (
    UPDATE fulfillment_saga AS s SET wake_at = shop_now() + %(lease)s, left_since = NULL, deadline_at = deadline_at + mine.lost,
        paused_s = CASE WHEN was.is_first THEN 0 ELSE paused_s + extract(epoch FROM mine.lost)::float END
    FROM mine, was WHERE s.id = mine.id AND s.id IN (SELECT saga_id FROM started)
), probing AS (
    UPDATE fulfillment_circuit SET probe_until = shop_now() + %(lease)s WHERE name IN (SELECT circuit FROM was WHERE is_probe)
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
SELECT mine.order_id, orders_order.number, mine.plan::text, started.do_key, started.undo_key, started.tries, started.undo_tries, started.receipt::text,
    started.undo_amount_minor, started.undo_doubt,
    extract(epoch FROM shop_now() - started.granted_at)::float,
    extract(epoch FROM shop_now() - CASE
        WHEN %(undo)s THEN coalesce(was.asked_until, started.undo_granted_at + %(lease)s) ELSE was.asked_until END)::float,
    extract(epoch FROM shop_now() - CASE WHEN %(undo)s THEN was.undo_asked_until END)::float,
    coalesce(was.troubled, false), coalesce(was.is_probe, false), shop_now(),
    CASE WHEN CASE WHEN %(undo)s THEN started.undo_attempt ELSE started.do_attempt END > 1 THEN (
        SELECT jsonb_build_object('keys', jsonb_agg(key ORDER BY attempt DESC), 'quiet_s', extract(epoch FROM shop_now() - max(p.asked_until)))::text
        FROM fulfillment_pastattempt AS p WHERE p.record_id = started.id AND p.undo = %(undo)s
    ) END
FROM mine JOIN started ON started.saga_id = mine.id JOIN was ON was.id = started.id JOIN orders_order ON orders_order.id = mine.order_id
"""


def start(saga_id: int, epoch: int, name: str, undo: bool, order: str = ANY) -> Claim | None:
    """Claim the granted step for this process, or None: a duplicate, an older epoch, or a cancel. ``order`` is what the message calls it, for crash points.

    Raises UnknownStep, and starts nothing: this code does not serve the step as the plan needs it.
    Does not wait for the disk, unless the provider knows no keys, or has forgotten this one: then a start that is lost could become a second effect. A probe's
    waits too: it tells an order that was called from one that never was.
    """
    crash_point("before_start", order, name, undo=undo)
    asked = time.monotonic()
    claim = _start(saga_id, epoch, name, undo)
    if claim is None:
        return None
    if claim.started_at is not None:
        watch.saw(asked, claim.started_at)
    crash_point("after_start", claim.order, name, undo=undo)
    return replace(claim, watched_s=watch.calm_s)


@transition
def _start(saga_id: int, epoch: int, name: str, undo: bool) -> Claim | None:
    claim = uuid.uuid4()
    values: dict[str, Any] = {
        "saga": saga_id,
        "epoch": epoch,
        "name": name,
        "undo": undo,
        "claim": claim,
        "lease": timedelta(seconds=lease_s()),
        "late_after": timedelta(seconds=LATE_AFTER_S),
        "most": most_given_back(),
        "direction": SagaState.COMPENSATING if undo else SagaState.RUNNING,
        "granted": StepState.UNDO_GRANTED if undo else StepState.GRANTED,
        "started": StepState.UNDO_STARTED if undo else StepState.STARTED,
        "operation": f".{circuits.UNDO if undo else circuits.DO}",
    }
    with connection.cursor() as cursor:
        cursor.execute(START, values)
        row = cursor.fetchone()
    if row is None:
        return None
    *columns, troubled, is_probe, now, past = row
    order_id, order, plan, do_key, undo_key, tries, undo_tries, receipt, amount, undo_doubt, age_s, quiet_s, undo_quiet_s = columns
    refused = json.loads(past) if past else {}
    saga = Saga(plan=json.loads(plan))
    if step_of(saga, name) is None:
        raise UnknownStep(f"This code does not serve {name!r} as the plan of saga {saga_id} needs it", code="unknown_step")
    entry = planned(saga, name)
    started = Claim(
        saga=saga_id,
        epoch=epoch,
        order_id=order_id,
        order=order,
        name=name,
        undo=undo,
        claim=claim,
        key=undo_key if undo else do_key,
        do_key=do_key,
        tries=undo_tries if undo else tries,
        receipt=json.loads(receipt) if receipt else None,
        undo_amount_minor=amount,
        undo_doubt=undo_doubt,
        age_s=age_s or 0.0,
        quiet_s=quiet_s,
        undo_quiet_s=undo_quiet_s,
        refused_keys=tuple(refused.get("keys") or ()),
        refused_quiet_s=refused.get("quiet_s"),
        started_at=now,
        role=entry.get("role", ""),
        gateway=entry.get("gateway", ""),
        version=entry.get("version", 1),
        troubled=troubled,
        is_probe=is_probe,
    )
    if is_probe:
        return started
    if started.is_once:
        may_be_lost()
    return started


def settle_success(claim: Claim, receipt: Receipt | None) -> Settled:
    """Write what a call (or an undo) achieved and grant what comes next, in one commit; or, if somebody else owns the step, one line of history."""
    settled = _settle_success(claim, receipt)
    crash_point("after_settle_commit", claim.order, claim.name, undo=claim.undo)
    return settled


@transition
def _settle_success(claim: Claim, receipt: Receipt | None) -> Settled:
    saga = _fenced(claim)
    if saga is None:
        came_too_late(claim, StepState.UNDONE if claim.undo else StepState.SUCCEEDED, receipt)
        return Settled(mine=False)
    give_back_what_its_worker_lost(saga)
    if claim.troubled:
        circuits.answered(claim.circuit, claim.saga)
    settled = _succeed(saga, claim.name, receipt, claim.undo)
    crash_point("before_settle_commit", claim.order, claim.name, undo=claim.undo)
    return settled


def settle_failure(claim: Claim, error: StepError) -> Settled:
    """Write that a try was rejected (final), unavailable, or is in doubt; the latter two wait for their back-off. Not mine: somebody else owns the step."""
    settled = _settle_failure(claim, error)
    crash_point("after_settle_commit", claim.order, claim.name, undo=claim.undo)
    return settled


@transition
def _settle_failure(claim: Claim, error: StepError) -> Settled:
    if not isinstance(error, Rejected | Changed | Differs):
        may_be_lost()
    saga = _fenced(claim)
    if saga is None:
        took_place = isinstance(error, Differs) and not claim.undo
        came_too_late(claim, StepState.SUCCEEDED if took_place else _state_after(error, claim.undo))
        return Settled(mine=False)
    give_back_what_its_worker_lost(saga)
    settled = _fail(saga, claim, error)
    crash_point("before_settle_commit", claim.order, claim.name, undo=claim.undo)
    return settled


def run_local(saga_id: int, epoch: int, name: str, undo: bool, order: str = ANY) -> Settled:
    """A step on our own rows: the start's checks, the work, the settle and the next grant in ONE transaction.

    Raises Rejected (of a step), or Unavailable for whatever else went wrong: settled in a second transaction, after the first one was rolled back whole.
    Raises DatabaseError where our own database could not serve it: nothing was written, and it is to be put off.
    """
    crash_point("before_start", order, name, undo=undo)
    try:
        settled = _run_local(saga_id, epoch, name, undo)
    except Rejected as error:
        refused = _settle_local_failure(saga_id, epoch, name, undo, error)
        if not undo:
            raise
        return refused
    except Exception as error:
        if is_our_trouble(error):
            raise
        failed = Unavailable(f"{type(error).__name__}: nothing was changed", code="local_error")
        _settle_local_failure(saga_id, epoch, name, undo, failed)
        raise failed from error
    crash_point("after_settle_commit", order, name, undo=undo)
    return settled


@transition
def _run_local(saga_id: int, epoch: int, name: str, undo: bool) -> Settled:
    saga = find_locked(saga_id)
    claim = _local_claim(saga, epoch, name, undo) if saga else None
    if saga is None or claim is None:
        return Settled(mine=False)
    step = step_of(saga, name)
    if step is None:
        drop(saga, record_of(saga, name))
        return Settled(mine=False)
    order = saga.order
    _wait_briefly_if_held(record_of(saga, name))
    give_back_what_was_lost(saga, record_of(saga, name))
    if order.status == Status.PLACED:
        tell_order(saga, Status.PROCESSING)
    receipt = step.compensate(order, claim.undo_of(order)) if undo else step.execute(order, claim.key)
    _count_try(saga, claim)
    settled = _succeed(saga, name, receipt, undo)
    crash_point("before_settle_commit", claim.order, name, undo=undo)
    return settled


def _count_try(saga: Saga, claim: Claim) -> None:
    """A local step has no start that counts it."""
    counter = "undo_tries" if claim.undo else "tries"
    setattr(record_of(saga, claim.name), counter, claim.tries)


@transition
def _settle_local_failure(saga_id: int, epoch: int, name: str, undo: bool, error: StepError) -> Settled:
    saga = locked(saga_id)
    claim = _local_claim(saga, epoch, name, undo)
    if claim is None:
        return Settled(mine=False)
    if saga.order.status == Status.PLACED:
        tell_order(saga, Status.PROCESSING)
    give_back_what_was_lost(saga, record_of(saga, name))
    return _fail(saga, claim, error)


def _local_claim(saga: Saga, epoch: int, name: str, undo: bool) -> Claim | None:
    record = record_of(saga, name)
    wanted = (SagaState.COMPENSATING, StepState.UNDO_GRANTED) if undo else (SagaState.RUNNING, StepState.GRANTED)
    if saga.epoch != epoch or (saga.state, record.state) != wanted or (saga.cancel_requested_at and not undo):
        return None
    return Claim(
        saga=saga.pk,
        epoch=epoch,
        order_id=saga.order_id,
        order=saga.order.number,
        name=name,
        undo=undo,
        claim=None,
        key=record.undo_key if undo else record.do_key,
        do_key=record.do_key,
        tries=(record.undo_tries if undo else record.tries) + 1,
        receipt=record.receipt,
        undo_amount_minor=record.undo_amount_minor,
    )


def may_settle(claim: Claim) -> bool:
    """Whether the journal, as it is now, would still let this claim settle."""
    started = StepState.UNDO_STARTED if claim.undo else StepState.STARTED
    mine = StepRecord.objects.filter(saga_id=claim.saga, saga__epoch=claim.epoch, name=claim.name, state=started, claim=claim.claim)
    return mine.exists()


def _fenced(claim: Claim) -> Saga | None:
    """The locked saga, if the claim may still settle: its epoch holds and the record still carries this very start."""
    saga = locked(claim.saga)
    record = record_of(saga, claim.name)
    started = StepState.UNDO_STARTED if claim.undo else StepState.STARTED
    mine = saga.epoch == claim.epoch and record.state == started and record.claim == claim.claim
    _wait_briefly_if_held(record)
    return saga if mine else None


def _wait_briefly_if_held(record: StepRecord) -> None:
    """Rows that kept it waiting before are hardly waited for: many orders that need one row must not keep the workers from the others."""
    if record.error_code == OWN_DATABASE:
        wait_for_locks(BRIEFLY_S)


def _succeed(saga: Saga, name: str, receipt: Receipt | None, undo: bool) -> Settled:
    record = record_of(saga, name)
    goes_on(saga, record)
    if saga.held_by:
        release(saga, record)
    saga.relaunches = 0
    settled: dict[str, Any] = {"tries": record.tries, "undo_tries": record.undo_tries, "waits": 0, "claim": None, "settled_at": ShopNow()}
    settled |= {"error_code": "", "error_message": ""}
    if undo:
        _enter_refund(saga, record, receipt)
        move(saga, record, StepState.UNDONE, **settled, undo_receipt=receipt)
        grant_next_undo(saga)
        return Settled(mine=True)
    if receipt and (amount := receipt.get("amount_minor")):
        ledger.enter(saga.order_id, name, LedgerEntry.Operation.CAPTURED, record.do_key, amount)
    move(saga, record, StepState.SUCCEEDED, **settled, receipt=receipt)
    if saga.cancel_requested_at and is_pivot(saga, record):
        save(saga, cancel_requested_at=None)
        tell(saga, Kind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at and is_newer(saga):
        save(saga, wake_at=ShopNow())  # a newer process turns it back
        return Settled(mine=True)
    if saga.cancel_requested_at:
        turn_back(saga)
        return Settled(mine=True, turned=launch_of(saga))
    grant_next(saga)
    return Settled(mine=True)


def _enter_refund(saga: Saga, record: StepRecord, receipt: Receipt | None) -> None:
    """What an undo gave back. A blind one may give back what was never known to be captured: both are entered."""
    amount = (receipt or {}).get("amount_minor") or 0
    if (receipt or {}).get("currency", saga.order.currency) != saga.order.currency:
        return  # of a charge in another currency, which was never entered
    if amount > ledger.remaining(saga.order_id, record.name):
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, amount)
    if amount:
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.REFUNDED, record.undo_key, amount)


def _fail(saga: Saga, claim: Claim, error: StepError) -> Settled:
    if isinstance(error, Differs) and not is_newer(saga):  # else in doubt: newer code asks again under the same key, and judges for itself
        return settle_difference(saga, claim, error)
    record, undo = record_of(saga, claim.name), claim.undo
    goes_on(saga, record)
    failed = _tell_the_circuit(saga, claim, error)
    state = _state_after(error, undo)
    waits_only, doubt = isinstance(error, Busy | Throttled), isinstance(error, InDoubt)
    tries = claim.tries - (waits_only or not failed.spends)
    waits = record.waits + 1 if waits_only else 0
    counted: dict[str, Any] = {"undo_tries": tries} if undo else {"tries": tries}
    counted |= {"undo_doubt": record.undo_doubt or doubt} if undo else {"doubt": record.doubt or doubt}
    counted |= refusal_of(error) if undo else {}
    counted |= nothing_was_sent(claim, record) if error.code == LAG else {}
    told: dict[str, Any] = {"error_code": error.code, "error_message": str(error), "detail": {"message": str(error)}}
    move(saga, record, state, **counted, waits=waits, claim=None, settled_at=ShopNow(), **told)
    if isinstance(error, Changed):
        fix_anew(saga, record, f"{record.undo_key}:elsewhere", error.given_back_minor)
    if state is StepState.UNDO_FAILED:
        saga.relaunches = 0
        return park_undo(saga, record)
    if failed.circuit is not None:
        hold(saga, record, failed.circuit)
        return Settled(mine=True)
    wait_s = max(_wait_s(saga, record, undo, max(tries, waits)), _asked_to_wait_s(error))
    save(saga, relaunches=0, wake_at=in_seconds(wait_s))
    return Settled(mine=True)


def _tell_the_circuit(saga: Saga, claim: Claim, error: StepError) -> circuits.Failed:
    """A rejection is an answer. Anything else is none; whether it is the provider's doing says the error."""
    if isinstance(error, Rejected):
        if claim.troubled:
            circuits.answered(claim.circuit, claim.saga)
        if saga.held_by:
            release(saga, record_of(saga, claim.name))
        return circuits.Failed(spends=True, circuit=None)
    return circuits.failed(claim.circuit, claim.order, claim.saga, str(error), error.provider_failed)


def _asked_to_wait_s(error: StepError) -> float:
    """By a provider that wants us to come more slowly, or for what may still land; never longer than anything else may wait."""
    return min(error.retry_after_s, settings.PATIENCE_CAP_S)


def _wait_s(saga: Saga, record: StepRecord, undo: bool, tries: int) -> float:
    """A rejection waits for its errback, what is spent or cancelled is due at once, everything else backs off."""
    if record.state == StepState.REJECTED:
        return patience_s(0)
    due = (saga.cancel_requested_at and not undo) or tries_spent(step_of(saga, record.name), record, undo)
    return 0.0 if due else backoff_s(tries)


def _state_after(error: StepError, undo: bool) -> StepState:
    """A rejected undo is final too: only a person may end it otherwise."""
    if isinstance(error, Rejected):
        return StepState.UNDO_FAILED if undo else StepState.REJECTED
    if isinstance(error, InDoubt):
        return StepState.UNDO_IN_DOUBT if undo else StepState.IN_DOUBT
    return StepState.UNDO_RETRY_WAIT if undo else StepState.RETRY_WAIT
