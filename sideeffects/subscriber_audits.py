"""The side effects' own audit, for a reconciliation: what a subscriber is owed and has not heard, and what is off in its own rows.

``fulfillment/reconciliation/`` does not import this module. Its command hands it in.
"""

import inspect
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Min, Q

from orders.clock import in_seconds
from sideeffects import discovery, relay
from sideeffects.models import IS_OWED, Delivery, DeliveryState

log = logging.getLogger(__name__)

# A fact that was not relayed yet is owed to nobody.
MISSING = f"""
SELECT fact.order_id, fact.type,
    coalesce(array_agg(subscriber.name ORDER BY subscriber.name) FILTER (WHERE subscriber.name IS NOT NULL AND d.id IS NULL), '{{}}')
FROM orders_fact fact
LEFT JOIN sideeffects_subscriber subscriber ON fact.relayed_at IS NOT NULL AND {IS_OWED}
LEFT JOIN sideeffects_delivery d ON d.event_id = fact.id AND d.subscriber = subscriber.name
WHERE fact.order_id = ANY(%s) GROUP BY fact.id ORDER BY fact.at, fact.id
"""


def missing_deliveries(orders: Sequence[int]) -> dict[int, list[tuple[str, tuple[str, ...]]]]:
    """By order id, for each of its facts: its type, and the subscribers that are owed the fact and have no delivery of it. One query."""
    found: dict[int, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(MISSING, [list(orders)])
        for order_id, type_, names in cursor.fetchall():
            found[order_id].append((type_, tuple(names)))
    return found


def complaints(since: datetime | None = None, doubted: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """(subscriber, what is off): what it is owed and has not heard, then what the function ``audit`` of its ``subscriber.py`` says about its own rows.

    ``since``: a subscriber whose ``audit`` takes it is asked only about facts from then on (None: about all of them), unless it is ``doubted``. An audit that
    breaks is a complaint itself, and hides nothing about the other subscribers.
    """
    yield from _owed()
    for name, audit in discovery.functions("audit").items():
        yield from ((name, sentence) for sentence in _asked(name, audit, None if name in doubted else since))


def _asked(name: str, audit: Callable[..., Any], since: datetime | None) -> list[str]:
    try:
        with transaction.atomic():
            return list(audit(since) if "since" in inspect.signature(audit).parameters else audit())
    except Exception as error:
        log.exception("The audit of %s broke", name)
        return [f"its audit broke: {type(error).__name__}"]


def _owed() -> Iterator[tuple[str, str]]:
    """(subscriber, what it is owed and has not heard): dead letters and late deliveries.

    A final answer is no complaint: a mail server may say that a recipient does not exist. Nor is what a person has given up. What is held for a name that no code
    knows has an incident of its own.
    """
    final = {name: {error.__name__ for error in one.final} for name, one in discovery.subscriptions().items()}
    long_ago = in_seconds(-settings.QUEUE_UNSERVED_LIMIT_S)
    is_late = Q(failing_since__lte=long_ago) | Q(wake_at__lte=long_ago) | Q(launched_at__lte=long_ago)
    late = Delivery.objects.filter(is_late | Q(state=DeliveryState.DEAD)).order_by("subscriber", "state", "error_code")
    rows = late.values_list("subscriber", "state", "error_code").annotate(Count("pk"), Min("fact__order__number"))
    for subscriber, state, code, count, first in rows:
        if not (state == DeliveryState.DEAD and code in final.get(subscriber, ())):
            why = ", ".join(filter(None, [DeliveryState(state).label.lower(), code]))
            yield subscriber, f"{count} owed and not delivered ({why}), like that of {first}"
    for subscriber, count, first in relay.not_begun(settings.QUEUE_UNSERVED_LIMIT_S):
        yield subscriber, f"{count} owed and not begun, like that of {first}"
