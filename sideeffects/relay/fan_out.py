"""Fan-out: each fact is numbered after its commit, and owed to every subscriber that reacts to its type and starts at or before that number.

The messages that go out with the commit decide nothing. Whoever has published what, a delivery row is written for every subscriber that is owed the fact. The
relay does not wait for rows that somebody else holds, and it does not wait for the disk.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from orders import facts
from orders.clock import shop_now
from orders.database import kept_apart
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.lowwater import A_PAGE, LowWater
from sideeffects import deliveries
from sideeffects.models import Delivery, Subscriber, SubscriberState
from sideeffects.relay import aside
from sideeffects.relay.marks import Marks

NUMBERED_AT_ONCE = 5000  # of a thousand orders: each has about five facts


def owe(lost_before: datetime | None, marks: Marks | None = None) -> bool:
    """Number the committed facts, then inspect one page of facts that are not relayed yet. A delivery is owed if it has no row and its message is lost.

    ``lost_before``: a message that was published earlier and has not started is lost. None: nothing is known about messages. Returns True if there are more
    facts to inspect now. A fact that somebody holds, or that cannot be worked on, does not keep the others back.
    """
    marks = marks or Marks()
    with transaction.atomic():
        may_be_lost()
        _number(marks.unnumbered)
    last, left_aside = facts.next_number(), aside.facts.keys()
    waiting = Fact.objects.filter(relayed_at__isnull=True, number__gte=max(marks.relayed, marks.inspected + 1))
    page = list(waiting.exclude(pk__in=left_aside).order_by("number").values_list("pk", "number", "at")[:A_PAGE])
    if not marks.inspected and not left_aside:
        marks.relayed = (page[0][1] or 0) if page else last
    now = shop_now()
    lost = [fact for fact, _, at in page if _is_lost(at, lost_before, now)]
    relayed = aside.facts.work([fact for fact, _, _ in page], lambda keys: _relay(keys, lost)) if page else []
    more = len(page) == A_PAGE and (bool(relayed) or page[-1][0] in lost)
    marks.inspected = (page[-1][1] or 0) if more else 0
    return more


def _is_lost(at: datetime, lost_before: datetime | None, now: datetime) -> bool:
    """Whether a message that was published ``at`` is lost. An instant after ``now`` was written by a clock that was ahead: such a message counts as lost."""
    return lost_before is not None and not lost_before <= at <= now


def _number(mark: LowWater) -> None:
    now = shop_now()
    if len(facts.number_committed(NUMBERED_AT_ONCE, mark.since, now, _complete)) < NUMBERED_AT_ONCE:
        mark.behind(lambda after, up_to: facts.number_committed(A_PAGE, after, up_to, _complete))
        mark.reached(now)


def _complete(page: list[Fact]) -> set[uuid.UUID]:
    """Those of which every delivery has its row: most facts. Nobody reacts to them, or the messages went out with their commit."""
    return {fact.pk for fact, lacking in _lacking(page) if not lacking}


def _lacking(page: list[Fact]) -> Iterable[tuple[Fact, list[str]]]:
    """Each fact with the subscribers that are owed it and have no delivery row."""
    active = list(Subscriber.objects.filter(state=SubscriberState.ACTIVE))
    owed = {fact: [one.name for one in active if one.is_owed(fact.type, fact.number or 0)] for fact in page}
    rows: dict[Any, set[str]] = defaultdict(set)
    for fact_id, name in Delivery.objects.filter(fact__in=[fact for fact, names in owed.items() if names]).values_list(
        "fact_id", "subscriber"
    ):
        rows[fact_id].add(name)
    for fact, names in owed.items():
        yield fact, [name for name in names if name not in rows[fact.pk]]


def _relay(keys: Sequence[uuid.UUID], lost: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """The facts with which the relay is done, of those that nobody holds. A delivery is owed only for a fact whose messages are ``lost``."""
    with kept_apart():
        return [fact for (fact,) in deliveries.SQL.rows("relay", {"facts": list(keys), "lost": list(lost)})]
