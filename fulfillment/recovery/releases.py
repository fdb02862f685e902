"""Releases: which ones run, by the names of their database sessions, and which orders wait for a process of another one. For doctor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Count, Min

from fulfillment.models import Saga, SagaState

# A session is named shop-<kind>-r<release> (config/settings.py); what people run for a moment is no part of a deploy.
SESSIONS = """
SELECT (parts[2])::int, array_agg(DISTINCT parts[1] ORDER BY parts[1]), min(backend_start)
FROM pg_stat_activity, regexp_match(application_name, '^shop-(web|worker|sweep|relay)-r([0-9]+)$') AS parts
WHERE datname = current_database() AND parts IS NOT NULL GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A release that has sessions: of which kinds of process, and since when."""

    kinds: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Orders that those who have met them have left to a process of another release."""

    orders: int
    since: datetime


def running() -> Mapping[int, Running]:
    """Release → what runs of it. A pooling proxy may hide the names; then nothing is known."""
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return {release: Running(kinds=tuple(kinds), since=since) for release, kinds, since in cursor.fetchall()}


def waiting() -> Mapping[int, Waiting]:
    """Release that is needed → the orders that wait for it."""
    left = Saga.objects.filter(left_since__isnull=False, state__in=[SagaState.RUNNING, SagaState.COMPENSATING])
    rows = left.values("release").annotate(orders=Count("id"), since=Min("left_since")).order_by("release")
    return {row["release"]: Waiting(orders=row["orders"], since=row["since"]) for row in rows}
