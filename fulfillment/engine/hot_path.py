"""The hot path: the transitions of an order that meets no trouble, one SQL statement each (``fulfillment/queries.sql``), prepared on the server.

What is unusual changes nothing here, and is told by None or False: then the transition is made by the readable code (``outcomes``, ``local_steps``).
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DataError, transaction
from psycopg.errors import DivisionByZero
from psycopg.types.json import Jsonb

from fulfillment import circuit as circuits
from fulfillment import gateways, keys
from fulfillment.clock import lease_s, patience_s
from fulfillment.code_release import RELEASE
from fulfillment.crashpoints import are_armed, crash_point
from fulfillment.engine import public_events
from fulfillment.engine.action import STEP_STATES, ActionState
from fulfillment.engine.budget import LATE_AFTER_S, most_given_back
from fulfillment.engine.claim import Claim, Watched
from fulfillment.engine.pinned_plan import plan_entry
from fulfillment.engine.position import direction
from fulfillment.engine.transition import repeated
from fulfillment.errors import UnknownStep
from fulfillment.models import StepState
from fulfillment.named_statements import SQL, order_of
from fulfillment.step import Receipt
from fulfillment.steps import known, versions
from orders import facts
from orders.events import Event
from orders.models import Order
from orders.named_sql import Row

# --- a saga is opened --------------------------------------------------------------------------------------------------------


def open_saga(order: Order, nonce: str, plan: list[dict[str, Any]], do_keys: list[str], event: Event) -> int:
    """In the caller's transaction, which creates the order. ``do_keys``: of each step of the plan. Returns the saga's id."""
    row = SQL.row(
        "open_saga",
        {
            "order": order.pk,
            "nonce": nonce,
            "plan": Jsonb(plan),
            "release": RELEASE,
            "patience": timedelta(seconds=patience_s(0)),
            "deadline": timedelta(seconds=settings.SAGA_DEADLINE_S),
            "steps": [entry["name"] for entry in plan],
            "keys": do_keys,
            "actor": order.client.get_username(),
            "correlation_id": order.correlation_id,
        }
        | _fact("", event),
    )
    assert row is not None
    saga_id: int = row[0]
    return saga_id


# --- a try begins ------------------------------------------------------------------------------------------------------------


@repeated
def start(saga_id: int, epoch: int, name: str, compensating: bool) -> Claim | None:
    """None: the saga does not wait for this step, in this direction, under this epoch. Raises UnknownStep: this code does not serve it as the plan needs it."""
    claim = uuid.uuid4()
    row = _start(
        {
            "saga": saga_id,
            "epoch": epoch,
            "name": name,
            "compensating": compensating,
            "claim": claim,
            "lease": timedelta(seconds=lease_s()),
            "late_after": timedelta(seconds=LATE_AFTER_S),
            "most": most_given_back(),
            "direction": direction(compensating).value,
            "scheduled": STEP_STATES[ActionState.SCHEDULED][compensating].value,
            "started": STEP_STATES[ActionState.STARTED][compensating].value,
            "operation": f".{circuits.COMPENSATE if compensating else circuits.DO}",
            "served": _served(name),
            "remembered_s": Jsonb(_remembered_s()),
        }
    )
    if row is None:
        return None
    is_served, is_started, *rest = row
    if not is_served:
        raise UnknownStep(f"This code does not serve {name!r} as the plan of saga {saga_id} needs it", code="unknown_step")
    if is_started is None:
        return None
    return _claim_of(rest, saga=saga_id, epoch=epoch, name=name, compensating=compensating, claim=claim)


def _start(values: Mapping[str, Any]) -> Row | None:
    try:
        return SQL.row("start", values)
    except DataError as error:
        if not isinstance(error.__cause__, DivisionByZero):
            raise
        return None  # the record has changed since the statement began; whoever has changed it publishes what comes next


def _served(name: str) -> list[str]:
    """What this code serves of this step, as a plan pins it: ``version.role.gateway``; a plan from before roles pins the version alone."""
    providers = ["", "..", *(f".{role}.{gateway}" for role, gateway in gateways.all_of_them())]
    return [f"{version}{provider}" for version in versions(name) for provider in providers]


def _remembered_s() -> dict[str, float]:
    """``role.gateway`` → until a step has this age (seconds), whatever is sent under its key within a lease is one effect. Missing: the provider knows no keys."""
    known_keys = ((role, gateway, gateways.capabilities_of(role, gateway)) for role, gateway in gateways.all_of_them())
    return {f"{role}.{gateway}": promise.key_window_s - lease_s() for role, gateway, promise in known_keys if promise.has_keys}


def _claim_of(row: Sequence[Any], *, name: str, compensating: bool, **fence: Any) -> Claim:
    pinned, (do_key, compensation_key, tries, compensation_tries, receipt, amount, compensation_doubt) = row[:3], row[3:10]
    age_s, quiet_s, compensation_quiet_s, troubled, is_probe, now, past, is_last, _, _, swept_s, swept_ago_s = row[10:22]
    version, role, gateway = _as_planned(name, *pinned)
    refused = json.loads(past) if past else {}
    return Claim(
        **fence,
        name=name,
        compensating=compensating,
        placed=order_of(row[22:]),
        key=compensation_key if compensating else do_key,
        do_key=do_key,
        tries=compensation_tries if compensating else tries,
        receipt=json.loads(receipt) if receipt else None,
        amount_minor=amount,
        doubt=compensating and compensation_doubt,
        age_s=age_s,
        quiet_s=quiet_s,
        own_quiet_s=compensation_quiet_s if compensating else quiet_s,
        refused_keys=tuple(refused.get("keys") or ()),
        refused_quiet_s=refused.get("quiet_s"),
        started_at=now,
        swept=None if swept_s is None else Watched(for_s=swept_s, ago_s=swept_ago_s),
        role=role,
        gateway=gateway,
        version=version,
        troubled=troubled,
        is_probe=is_probe,
        is_last=is_last,
    )


def _as_planned(name: str, version: str | None, role: str | None, gateway: str | None) -> tuple[int, str, str]:
    """What an older plan did not pin is as the step says today."""
    number = int(version or 1)
    step = known(name, number)
    today = plan_entry(step) if step and role is None else {}
    return number, role or today.get("role", ""), gateway or today.get("gateway", "")


# --- a try has succeeded -----------------------------------------------------------------------------------------------------


def record_success(claim: Claim, receipt: Receipt | None) -> bool:
    """The step is done, and the next one is scheduled; or it was the last, and the order is fulfilled. False: nothing was changed."""
    if claim.compensating or claim.troubled or receipt is None:
        return False
    try:
        return (_complete if claim.is_last else _schedule)(claim, receipt)
    except DataError:  # the records have changed since the statement began; nothing was written
        return False


def _schedule(claim: Claim, receipt: Receipt) -> bool:
    event = _event(claim, receipt)
    if _run(claim, "succeed_and_schedule", _outcome(claim, receipt) | _fact("step_", event)) is None:
        return False
    _announce(event)
    return True


def _complete(claim: Claim, receipt: Receipt) -> bool:
    event, end = _event(claim, receipt), public_events.fulfilled(claim.placed)  # day and tracking number are put in by the statement
    row = _run(claim, "succeed_and_complete", _outcome(claim, receipt) | _fact("step_", event) | _fact("", end))
    if row is None:
        return False
    tracking, fulfilled_on, _ = row
    _announce(event)
    facts.announce(replace(end, tracking=tracking, fulfilled_on=fulfilled_on))
    return True


def _event(claim: Claim, receipt: Receipt) -> Event | None:
    step = known(claim.name, claim.version)
    return public_events.of_success(step, claim.placed, keys.attempt_of(claim.do_key), receipt) if step else None


def _announce(event: Event | None) -> None:
    if event is not None:
        facts.announce(event)


def _fact(prefix: str, event: Event | None) -> dict[str, Any]:
    """The parameters with which a statement records an event; or none."""
    values: tuple[Any, ...] = (None, "", 0, None, None)
    if event is not None:
        values = (event.fact_id, event.type, event.version, Jsonb(event.to_json()), facts.before_the_commit(event))
    return {f"{prefix}{name}": value for name, value in zip(("fact", "type", "version", "payload", "earlier"), values, strict=True)}


@repeated
def _run(claim: Claim, name: str, values: Mapping[str, Any]) -> Row | None:
    """Where crash points are armed, there is one between the statement and its commit."""
    if not are_armed():
        return SQL.row(name, values)
    with transaction.atomic():
        row = SQL.row(name, values)
        if row is not None:
            crash_point("before_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
        return row


def _outcome(claim: Claim, receipt: Receipt) -> dict[str, Any]:
    return {
        "saga": claim.saga,
        "epoch": claim.epoch,
        "name": claim.name,
        "claim": claim.claim,
        "was": (StepState.SCHEDULED if claim.claim is None else StepState.STARTED).value,
        "tries": claim.tries,
        "receipt": Jsonb(receipt),
        "amount": receipt.get("amount_minor") or 0,
        "release": RELEASE,
        "late_after": timedelta(seconds=LATE_AFTER_S),
        "patience": timedelta(seconds=patience_s(0)),
        "correlation_id": claim.placed.correlation_id,
    }


# --- a local step ------------------------------------------------------------------------------------------------------------


def begin_local(saga_id: int, epoch: int, name: str) -> Claim | None:
    """In the caller's transaction: saga and record are locked, and the step may be worked on. None: something is unusual."""
    values = {"saga": saga_id, "epoch": epoch, "name": name, "versions": versions(name)}
    row = SQL.row("begin_local", values | {"release": RELEASE, "late_after": timedelta(seconds=LATE_AFTER_S)})
    if row is None:
        return None
    version, do_key, tries, *rest = row
    return Claim(
        saga=saga_id,
        epoch=epoch,
        placed=order_of(rest),
        name=name,
        compensating=False,
        claim=None,
        key=do_key,
        do_key=do_key,
        tries=tries + 1,
        receipt=None,
        amount_minor=None,
        version=version,
    )


def record_local(claim: Claim, receipt: Receipt) -> bool:
    """In the transaction of its work. False: nothing was changed."""
    event = _event(claim, receipt)
    if SQL.row("succeed_and_schedule", _outcome(claim, receipt) | _fact("step_", event)) is None:
        return False
    _announce(event)
    return True
