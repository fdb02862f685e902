"""Deliveries: every change of a row is written here, with its history entry in the same transaction. Nothing is published here, and no subscriber is called.

None of these transactions waits for the disk. If one is lost, a delivery is repeated.

Note: a delivery first takes a transaction-level advisory lock on (fact, subscriber), without waiting. If a message comes twice, the second worker finds the lock
taken and ends at once. An INSERT on the unique key would make it wait for the whole effect of the first.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from orders.clock import ShopNow, in_seconds, shop_now
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.models import Order
from orders.named_sql import NamedSql, Row, columns, instance
from orders.text import sanitized
from orders.timeline import EntryKind, HistoryRow
from sideeffects.models import IS_OWED, Delivery, DeliveryState

SQL = NamedSql(
    Path(__file__).with_name("queries.sql"),
    {"fact": columns(Fact, "fact"), "order": columns(Order, "bought"), "delivery": columns(Delivery, "delivery"), "is_owed": IS_OWED},
)
OF_A_FACT, OF_AN_ORDER, OF_A_DELIVERY = (len(model._meta.concrete_fields) for model in (Fact, Order, Delivery))
WAITING = (DeliveryState.PENDING, DeliveryState.RETRY_WAIT)
AT_ONCE = 500
BEGIN = """
SELECT set_config('synchronous_commit', 'off', true), set_config('statement_timeout', %s, true), pg_try_advisory_xact_lock(hashtextextended(%s, 0))
"""
BEGIN_OUTSIDE = f"""
{BEGIN.strip()}, circuit.subscriber IS NOT NULL,
    circuit.opened_at IS NOT NULL, CASE WHEN circuit.probe_until > shop_now() THEN circuit.probe END
FROM (SELECT) AS one LEFT JOIN sideeffects_circuit AS circuit ON circuit.subscriber = %s
"""  # in one statement: most of the time there is no circuit
NOT_ANSWERING = "not_answering"
NOT_SUBSCRIBED = "not_subscribed"
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a try failed: a stable ``code``, and a sentence without personal data. ``retry_in_s``: when to try again; None: never.

    ``spends``: it counts as a try, and towards the limit in time. ``is_timed``: it counts towards that limit, also where it spends no try.
    """

    code: str
    message: str
    retry_in_s: float | None
    spends: bool = True
    is_timed: bool = False

    def __post_init__(self) -> None:
        """Both may contain text from outside."""
        object.__setattr__(self, "code", sanitized(self.code, 60))
        object.__setattr__(self, "message", sanitized(self.message, 300))


class HasARow(Exception):
    """The delivery has a row: somebody else has made its first try. Nothing of this one may stay. No person needs to do anything."""


def begin(fact_id: uuid.UUID, subscriber: str, timeout_s: float) -> bool:
    """The first statement of a delivery's transaction. True: nobody else is delivering this right now.

    The server ends a statement that hangs for longer than ``timeout_s``. If only the worker gave up, the statement would go on running and keep its locks.
    """
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, [_milliseconds(timeout_s), _lock_name(fact_id, subscriber)])
        return bool(cursor.fetchone()[-1])


def begin_first_try(fact_id: uuid.UUID, subscriber: str, timeout_s: float) -> Delivery | None:
    """``begin`` and ``untried`` in one statement. None: there is a row, or somebody else is delivering this right now.

    A twin may commit between the snapshot of this statement and its lock. Then ``write_first_success`` raises HasARow.
    """
    values = {"fact": fact_id, "subscriber": subscriber, "lock": _lock_name(fact_id, subscriber), "timeout_ms": _milliseconds(timeout_s)}
    row = SQL.row("begin_first_try", values)
    return None if row is None else Delivery(fact=_fact_with_order(row), subscriber=subscriber)


def _fact_with_order(row: Row) -> Fact:
    """The order in it holds personal data, for handlers that need it. It stays in the memory of this process."""
    fact = instance(Fact, row[:OF_A_FACT])
    fact.order = instance(Order, row[OF_A_FACT:])
    return fact


def _milliseconds(seconds: float) -> str:
    return str(max(int(seconds * 1000), 1))


def is_being_delivered(fact_id: uuid.UUID, subscriber: str) -> bool:
    """Whether somebody is delivering this right now. If not, nobody will before the caller's transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK, [_lock_name(fact_id, subscriber)])
        return not cursor.fetchone()[0]


def _lock_name(fact_id: uuid.UUID, subscriber: str) -> str:
    return f"delivery {fact_id} {subscriber}"


def untried(fact_id: uuid.UUID, subscriber: str) -> Delivery | None:
    """A delivery that has no row yet: nobody has delivered it, failed, or owed it. The row is written when the outcome is known."""
    tried = Delivery.objects.filter(fact=OuterRef("pk"), subscriber=subscriber)
    fact = Fact.objects.filter(~Exists(tried), pk=fact_id).first()
    return None if fact is None else Delivery(fact=fact, subscriber=subscriber)


def start(fact_id: uuid.UUID, subscriber: str, lease_s: float, timeout_s: float) -> Delivery | None:
    """Claim a try and commit that it has started, so that a try that kills its worker is counted. None: there is nothing to deliver, or somebody else delivers.

    While a circuit is open, only its probe starts. Any other delivery is returned still waiting, and no try is spent.
    """
    return _start_first_try(fact_id, subscriber, lease_s) or _start_later_try(fact_id, subscriber, lease_s, timeout_s)


def _start_first_try(fact_id: uuid.UUID, subscriber: str, lease_s: float) -> Delivery | None:
    """None: it is not the first try, or the circuit is open, or somebody else delivers."""
    claim: dict[str, Any] = {"lock": _lock_name(fact_id, subscriber), "claim": uuid.uuid4(), "lease_s": lease_s}
    try:
        row = SQL.row("start_first_try", {"fact": fact_id, "subscriber": subscriber, **claim})
    except IntegrityError:  # a twin has begun it since the statement began
        return None
    if row is None:
        return None
    has_failed, *values = row
    delivery = instance(Delivery, values[:OF_A_DELIVERY])
    delivery.fact = _fact_with_order(tuple(values[OF_A_DELIVERY:]))
    delivery.is_first_since_a_failure = has_failed
    return delivery


def _start_later_try(fact_id: uuid.UUID, subscriber: str, lease_s: float, timeout_s: float) -> Delivery | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BEGIN_OUTSIDE, [_milliseconds(timeout_s), _lock_name(fact_id, subscriber), subscriber])
        *_, is_mine, has_failed, is_open, probe = cursor.fetchone()
        if not is_mine:
            return None
        delivery = _locked(Delivery.objects.filter(fact=fact_id, subscriber=subscriber)) or untried(fact_id, subscriber)
        if delivery is None or delivery.state not in WAITING:
            return None
        if is_open and (delivery.pk is None or delivery.pk != probe):
            _hold_back(delivery)
            return delivery
        claimed: dict[str, Any] = {"claim": uuid.uuid4(), "tries": delivery.tries + 1, "wake_at": in_seconds(lease_s), "launched_at": None}
        move(delivery, DeliveryState.STARTED, **claimed)
        delivery.is_first_since_a_failure = has_failed
        return delivery


def _hold_back(delivery: Delivery) -> None:
    waits: dict[str, Any] = {"unspent": delivery.unspent + 1, "wake_at": ShopNow(), "launched_at": None}
    why = "Nobody is answered there; one asks, the others wait, and no try is spent"
    move(delivery, DeliveryState.RETRY_WAIT, code=NOT_ANSWERING, **waits, error_code=NOT_ANSWERING, error_message=why)


def mine(started: Delivery) -> Delivery | None:
    """The row of a try that was started here, locked in the caller's transaction. None: somebody else owns the delivery now."""
    return _locked(Delivery.objects.filter(pk=started.pk, state=DeliveryState.STARTED, claim=started.claim))


def write_first_success(delivery: Delivery) -> None:
    """A first try on our own rows has succeeded: write its row. Raises HasARow: a twin has written it, so the caller's transaction must be taken back."""
    values = {"fact": delivery.fact_id, "subscriber": delivery.subscriber, "order": delivery.fact.order_id}
    try:
        SQL.row("write_first_success", values)
    except IntegrityError as error:
        raise HasARow from error


def record_success(started: Delivery) -> bool:
    """The try has succeeded, in one statement: in the caller's transaction, or in one of its own. False: somebody else owns the delivery now."""
    return SQL.row("record_success", {"delivery": started.pk, "claim": started.claim, "order": started.fact.order_id}) is not None


def record_failure(delivery: Delivery, failure: Failure) -> bool:
    """Record a failed try, in a transaction of its own. False: somebody else owns the delivery now."""
    with transaction.atomic():
        may_be_lost()
        own = _own(delivery)
        if own is not None:
            write_failure(own, failure)
        return own is not None


def discard_unwanted(delivery: Delivery) -> bool:
    """Its subscriber does not react to this type of event: older code has owed it, or the subscriber has changed. In a transaction of its own. False: as above."""
    over: dict[str, Any] = {"claim": None, "wake_at": None, "launched_at": None, "failing_since": None}
    with transaction.atomic():
        may_be_lost()
        own = _own(delivery)
        if own is not None:
            move(own, DeliveryState.DISCARDED, code=NOT_SUBSCRIBED, **over)
        return own is not None


def _own(delivery: Delivery) -> Delivery | None:
    """The delivery of a try that has ended, as it is now. None: somebody else owns it."""
    if is_being_delivered(delivery.fact_id, delivery.subscriber):
        return None
    return untried(delivery.fact_id, delivery.subscriber) if delivery.pk is None else mine(delivery)


def write_failure(delivery: Delivery, failure: Failure) -> None:
    """The delivery waits for its next try, or becomes a dead letter. The caller's transaction holds its row if there is one."""
    is_timed = failure.spends or failure.is_timed
    dead = failure.retry_in_s is None or (is_timed and _is_out_of_time(delivery))
    failing = {"failing_since": None} if dead else {"failing_since": delivery.failing_since or ShopNow()} if is_timed else {}
    move(
        delivery,
        DeliveryState.DEAD if dead else DeliveryState.RETRY_WAIT,
        code=failure.code,
        detail={"message": failure.message},
        tries=tries_of(delivery) - (not failure.spends),
        unspent=delivery.unspent + (not failure.spends),
        claim=None,
        launched_at=None,
        wake_at=None if dead else in_seconds(failure.retry_in_s or 0),
        error_code=failure.code,
        error_message=failure.message,
        **failing,
    )


def _is_out_of_time(delivery: Delivery) -> bool:
    return delivery.failing_since is not None and (shop_now() - delivery.failing_since).total_seconds() >= settings.DELIVERY_LIMIT_S


def tries_of(delivery: Delivery) -> int:
    """How many tries there were, this one included. A first try on our own rows was not counted when it began."""
    return delivery.tries + (delivery.pk is None)


def _locked(deliveries: QuerySet[Delivery]) -> Delivery | None:
    return deliveries.select_for_update(of=("self",), no_key=True).select_related("fact").first()


def change_in_batches(deliveries: QuerySet[Delivery], change: Callable[[list[Delivery]], None]) -> int:
    """One transaction for each batch, the oldest first. ``change`` must take its batch out of the query ``deliveries``. Returns how many were changed."""
    changed = 0
    while True:
        with transaction.atomic():
            batch = list(deliveries.select_for_update(of=("self",), no_key=True).select_related("fact").order_by("id")[:AT_ONCE])
            change(batch)
        if not batch:
            return changed
        changed += len(batch)


def move(
    delivery: Delivery, to: DeliveryState, *, code: str = "", detail: dict[str, Any] | None = None, actor: str = "", **changes: Any
) -> None:
    """Write the row and its history entry, in the caller's transaction."""
    HistoryRow.objects.create(
        order_id=delivery.fact.order_id,
        kind=EntryKind.DELIVERY,
        name=delivery.subscriber,
        from_state="" if delivery.pk is None else delivery.state,
        to_state=to,
        code=code[:60],
        detail=detail or {},
        actor=actor,
    )
    for field, value in {"state": to, **changes}.items():
        setattr(delivery, field, value)
    delivery.save(force_insert=delivery.pk is None, update_fields=None if delivery.pk is None else ["state", *changes])
