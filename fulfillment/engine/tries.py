"""One try of a step or of its compensation: it starts once, under a claim, and only that claim may record its outcome.

``start`` claims the step, ``record_success`` and ``record_failure`` record what became of it and schedule what comes next. Between them lies the provider call.
The fencing token: see ``claim``.
"""

import json
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from fulfillment import circuit as circuits
from fulfillment.clock import in_seconds, lease_s
from fulfillment.crashpoints import ANY, crash_point
from fulfillment.engine.budget import LATE_AFTER_S, most_given_back, return_time_past_lease
from fulfillment.engine.claim import Claim, Recorded
from fulfillment.engine.database_trouble import wait_briefly_if_held
from fulfillment.engine.journal import locked, record_of
from fulfillment.engine.late_outcomes import came_too_late
from fulfillment.engine.outcomes import fail, state_after, succeed
from fulfillment.engine.pinned_plan import planned, step_of
from fulfillment.engine.transition import transition
from fulfillment.errors import Changed, Differs, Rejected, StepError, UnknownStep
from fulfillment.models import PastAttempt, Saga, SagaState, StepRecord, StepState
from fulfillment.step import Receipt
from orders.clock_watch import ClockWatch
from orders.durability import may_be_lost

watch = ClockWatch(settings.CLOCK_TOLERANCE_S)  # this process's own: what was asked before is past only if it has seen it pass

# One statement. It locks the saga if this epoch and direction still hold. It starts the scheduled step under a random claim, moves wake_at to the end of the lease,
# writes the history, and moves a placed order to processing. The saga's row is locked first, as everywhere, so that no two transitions can deadlock.
# Before an open circuit nothing starts but the circuit's probe, which is then the probe until its lease ends.
# The time for which the message waited in a long queue is given back to the saga, and to a step that was started before; the deadline of any other step begins
# with its first start. A later attempt is told of the attempts before it.
# No try that was started before can send anything later than a lease from now. An instant that says so was written by a clock that was ahead: it is moved to then.
START = """
WITH mine AS (
    SELECT id, order_id, epoch, plan, held_by, (
        SELECT (entry->>'role') || '.' || (entry->>'gateway') || %(operation)s FROM jsonb_array_elements(plan) AS entry WHERE entry->>'name' = %(name)s
    ) AS circuit,
        CASE WHEN held_by = '' AND shop_now() - launched_at > %(late_after)s THEN least(shop_now() - launched_at, %(most)s) ELSE interval '0' END AS lost
    FROM fulfillment_saga
    WHERE id = %(saga)s AND epoch = %(epoch)s AND state = %(direction)s AND (%(compensating)s OR cancel_requested_at IS NULL)
    FOR UPDATE
), was AS (
    SELECT r.id, CASE WHEN said.until > latest.at THEN latest.at ELSE said.until END AS asked_until,
        CASE WHEN r.compensation_asked_until > latest.at THEN latest.at ELSE r.compensation_asked_until END AS compensation_asked_until,
        NOT %(compensating)s AND r.first_started_at IS NULL AS is_first, c.name AS circuit,
        c.state <> 'closed' OR c.failures <> '[]' AS troubled, c.probe = mine.id AND c.probe_until > shop_now() AS is_probe
    FROM fulfillment_steprecord AS r JOIN mine ON r.saga_id = mine.id LEFT JOIN fulfillment_circuit AS c ON c.name = mine.circuit
        CROSS JOIN LATERAL (SELECT shop_now() + %(lease)s AS at) AS latest
        CROSS JOIN LATERAL (
            SELECT CASE WHEN %(compensating)s THEN coalesce(r.asked_until, r.compensation_scheduled_at + %(lease)s) ELSE r.asked_until END AS until
        ) AS said
    WHERE r.name = %(name)s AND r.state = %(scheduled)s
        AND ((mine.held_by = '' AND coalesce(c.state, 'closed') = 'closed') OR (c.probe = mine.id AND c.probe_until > shop_now()))
    FOR UPDATE OF r
), started AS (
    UPDATE fulfillment_steprecord AS r
    SET state = %(started)s, claim = %(claim)s, started_at = shop_now(),
        first_started_at = CASE WHEN %(compensating)s THEN r.first_started_at ELSE coalesce(r.first_started_at, shop_now()) END,
        asked_until = CASE WHEN %(compensating)s THEN was.asked_until ELSE shop_now() + %(lease)s END,
        compensation_asked_until = CASE WHEN %(compensating)s THEN shop_now() + %(lease)s ELSE was.compensation_asked_until END,
        tries = r.tries + CASE WHEN %(compensating)s THEN 0 ELSE 1 END, compensation_tries = r.compensation_tries + CASE WHEN %(compensating)s THEN 1 ELSE 0 END
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
), entries AS (
    INSERT INTO orders_timelineentry (order_id, at, kind, name, from_state, to_state, epoch, code, detail, actor)
    SELECT order_id, shop_now(), 'step', %(name)s, %(scheduled)s, %(started)s, epoch, '', '{}'::jsonb, '' FROM mine JOIN started ON started.saga_id = mine.id
    UNION ALL
    SELECT id, shop_now(), 'order', '', 'placed', 'processing', %(epoch)s, '', '{}'::jsonb, '' FROM moved
)
SELECT mine.order_id, orders_order.number, mine.plan::text, started.do_key, started.compensation_key, started.tries, started.compensation_tries,
    started.receipt::text, started.compensation_amount_minor, started.compensation_doubt,
    extract(epoch FROM shop_now() - started.scheduled_at)::float,
    extract(epoch FROM shop_now() - was.asked_until)::float,
    extract(epoch FROM shop_now() - CASE WHEN %(compensating)s THEN was.compensation_asked_until END)::float,
    coalesce(was.troubled, false), coalesce(was.is_probe, false), shop_now(),
    CASE WHEN CASE WHEN %(compensating)s THEN started.compensation_attempt ELSE started.do_attempt END > 1 THEN (
        SELECT jsonb_build_object('keys', jsonb_agg(key ORDER BY attempt DESC), 'quiet_s', extract(epoch FROM shop_now() - max(p.asked_until)))::text
        FROM fulfillment_pastattempt AS p WHERE p.record_id = started.id AND p.compensating = %(compensating)s
    ) END
FROM mine JOIN started ON started.saga_id = mine.id JOIN was ON was.id = started.id JOIN orders_order ON orders_order.id = mine.order_id
"""


def start(saga_id: int, epoch: int, name: str, compensating: bool, order: str = ANY) -> Claim | None:
    """Claim the scheduled step for this process. None: the message is a duplicate or of an older epoch; or a cancel was requested; or its circuit is open.

    ``order`` is what the message calls it, for crash points.
    Raises UnknownStep, and starts nothing: this code does not serve the step as the plan needs it.
    The start does not wait for the disk, unless the provider knows no keys, or has forgotten this one: then a start that is lost could become a second effect.
    The start of a probe waits too: it distinguishes an order that was called from one that never was.
    """
    crash_point("before_start", order, name, compensating=compensating)
    asked = time.monotonic()
    claim = _start(saga_id, epoch, name, compensating)
    if claim is None:
        return None
    if claim.started_at is not None:
        watch.saw(asked, claim.started_at)
    crash_point("after_start", claim.order, name, compensating=compensating)
    return replace(claim, watched_s=watch.calm_s)


@transition
def _start(saga_id: int, epoch: int, name: str, compensating: bool) -> Claim | None:
    claim = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(START, _values(saga_id, epoch, name, compensating, claim))
        row = cursor.fetchone()
    if row is None:
        return None
    started = _claim_of(row, saga=saga_id, epoch=epoch, name=name, compensating=compensating, claim=claim)
    if started.refused_quiet_s is not None and started.refused_quiet_s < -lease_s():
        latest = in_seconds(lease_s())
        PastAttempt.objects.filter(record__saga=saga_id, record__name=name, asked_until__gt=latest).update(asked_until=latest)
        started = replace(started, refused_quiet_s=-lease_s())
    if not started.is_probe and started.is_once:
        may_be_lost()
    return started


def _values(saga_id: int, epoch: int, name: str, compensating: bool, claim: uuid.UUID) -> dict[str, Any]:
    return {
        "saga": saga_id,
        "epoch": epoch,
        "name": name,
        "compensating": compensating,
        "claim": claim,
        "lease": timedelta(seconds=lease_s()),
        "late_after": timedelta(seconds=LATE_AFTER_S),
        "most": most_given_back(),
        "direction": SagaState.COMPENSATING if compensating else SagaState.RUNNING,
        "scheduled": StepState.COMPENSATION_SCHEDULED if compensating else StepState.SCHEDULED,
        "started": StepState.COMPENSATION_STARTED if compensating else StepState.STARTED,
        "operation": f".{circuits.COMPENSATE if compensating else circuits.DO}",
    }


def _claim_of(row: tuple[Any, ...], *, name: str, compensating: bool, **known: Any) -> Claim:
    """What the statement has answered, as a claim. Raises UnknownStep."""
    *columns, troubled, is_probe, now, past = row
    (
        order_id,
        order,
        plan,
        do_key,
        compensation_key,
        tries,
        compensation_tries,
        receipt,
        amount,
        compensation_doubt,
        age_s,
        quiet_s,
        compensation_quiet_s,
    ) = columns
    refused = json.loads(past) if past else {}
    saga = Saga(plan=json.loads(plan))
    if step_of(saga, name) is None:
        raise UnknownStep(f"This code does not serve {name!r} as the plan of saga {known['saga']} needs it", code="unknown_step")
    entry = planned(saga, name)
    return Claim(
        **known,
        name=name,
        compensating=compensating,
        order_id=order_id,
        order=order,
        key=compensation_key if compensating else do_key,
        do_key=do_key,
        tries=compensation_tries if compensating else tries,
        receipt=json.loads(receipt) if receipt else None,
        compensation_amount_minor=amount,
        compensation_doubt=compensation_doubt,
        age_s=age_s or 0.0,
        quiet_s=quiet_s,
        compensation_quiet_s=compensation_quiet_s,
        refused_keys=tuple(refused.get("keys") or ()),
        refused_quiet_s=refused.get("quiet_s"),
        started_at=now,
        role=entry.get("role", ""),
        gateway=entry.get("gateway", ""),
        version=entry.get("version", 1),
        troubled=troubled,
        is_probe=is_probe,
    )


def record_success(claim: Claim, receipt: Receipt | None) -> Recorded:
    """Record what the provider call has achieved, and schedule what comes next, in one commit. If somebody else owns the step: one line of history."""
    recorded = _record_success(claim, receipt)
    crash_point("after_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


@transition
def _record_success(claim: Claim, receipt: Receipt | None) -> Recorded:
    saga = _fenced(claim)
    if saga is None:
        came_too_late(claim, StepState.COMPENSATED if claim.compensating else StepState.SUCCEEDED, receipt)
        return Recorded(mine=False)
    return_time_past_lease(saga)
    if claim.troubled:
        circuits.answered(claim.circuit, claim.saga)
    recorded = succeed(saga, claim.name, receipt, claim.compensating)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


def record_failure(claim: Claim, error: StepError) -> Recorded:
    """Record that a try was rejected, unavailable or in doubt. A rejection is final; the others are tried again after a back-off.

    If somebody else owns the step: one line of history.
    """
    recorded = _record_failure(claim, error)
    crash_point("after_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


@transition
def _record_failure(claim: Claim, error: StepError) -> Recorded:
    if not isinstance(error, Rejected | Changed | Differs):
        may_be_lost()
    saga = _fenced(claim)
    if saga is None:
        took_place = isinstance(error, Differs) and not claim.compensating
        came_too_late(claim, StepState.SUCCEEDED if took_place else state_after(error, claim.compensating))
        return Recorded(mine=False)
    return_time_past_lease(saga)
    recorded = fail(saga, claim, error)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


def may_record(claim: Claim) -> bool:
    """Whether the fencing token holds, as the journal is now. Without a lock: it may be lost a moment later."""
    started = StepState.COMPENSATION_STARTED if claim.compensating else StepState.STARTED
    mine = StepRecord.objects.filter(saga_id=claim.saga, saga__epoch=claim.epoch, name=claim.name, state=started, claim=claim.claim)
    return mine.exists()


def _fenced(claim: Claim) -> Saga | None:
    """The locked saga, if the fencing token holds: the saga still has this epoch, and the record still has this claim. None: somebody else owns the step."""
    saga = locked(claim.saga)
    record = record_of(saga, claim.name)
    started = StepState.COMPENSATION_STARTED if claim.compensating else StepState.STARTED
    mine = saga.epoch == claim.epoch and record.state == started and record.claim == claim.claim
    wait_briefly_if_held(record)
    return saga if mine else None
