"""The side effects of an order, for the admin and the API. Their tables are read separately, within a time limit. If that fails, only this part is left out."""

import logging
from collections.abc import Sequence

from django.db import DatabaseError, transaction

from orders.database import is_unusable, limited, sqlstate
from orders.models import Fact, Order
from sideeffects import discovery
from sideeffects.models import Delivery

log = logging.getLogger(__name__)

READ_WITHIN_S = 0.5  # of the two seconds in which a page is answered


def side_effects(orders: Sequence[Order]) -> dict[int, list[Delivery] | None]:
    """By the order's primary key, every delivery of its facts. None: they cannot be read now. Where nobody reacts to any fact of the orders nothing is read.

    A fact that was not relayed yet is on its way to the subscribers that have no row: these deliveries show as pending. The orders' ``facts`` should be
    prefetched. Raises DatabaseError: the connection itself cannot be used any more.
    """
    wanted = frozenset[str]().union(*discovery.types().values())
    facts = {order.pk: [fact for fact in order.facts.all() if fact.type in wanted] for order in orders}
    try:
        rows = _rows([fact for several in facts.values() for fact in several])
    except DatabaseError as error:
        if is_unusable(error):
            raise
        log.warning("The side effects of %d orders cannot be read: %s %s", len(orders), type(error).__name__, sqlstate(error))
        return {pk: None if several else [] for pk, several in facts.items()}
    return {pk: [delivery for fact in several for delivery in _of(fact, rows)] for pk, several in facts.items()}


def _rows(facts: list[Fact]) -> list[Delivery]:
    if not facts:
        return []
    with limited(READ_WITHIN_S):
        rows = list(Delivery.objects.filter(fact__in=facts))
        transaction.set_rollback(True)  # nothing was written; and within a larger transaction the limits end here, too
    return rows


def _of(fact: Fact, rows: list[Delivery]) -> list[Delivery]:
    written = {delivery.subscriber: delivery for delivery in rows if delivery.fact_id == fact.pk}
    on_its_way = discovery.wanting(fact.type) if fact.relayed_at is None else []
    return [written.get(name) or Delivery(fact=fact, subscriber=name) for name in sorted({*written, *on_its_way})]
