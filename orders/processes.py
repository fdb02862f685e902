"""Processes: each notes its start, that it has lived, and that it ended as it was asked to. Whoever starts under the same name finds out how its predecessor ended.

A process that ends again and again without having been asked to is in a crash loop. It reports that itself, with its next start: no other process is needed for it,
and none could know more. It takes the word back once it has lived long enough. Nothing is written in between.

Note: a predecessor is dead if its host is ours and its pid is gone, or belongs to somebody born at another time. A name holds its host, so no other host is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, Exists, Max, OuterRef, Q

from orders.clock import ShopNow, in_seconds
from orders.durability import may_be_lost
from orders.incidents import Incident, IncidentKind, open_incident, resolve

CRASHES = 4
KEPT = 50  # rows of one name
FORGOTTEN_AFTER_S = 30 * 86_400.0  # names that do not come back: hosts that are gone
ACTOR = "process registry"


class ProcessRow(models.Model):
    """One life of a process. ``born``: when the kernel says that ``pid`` began, seconds since 1970. ``ended_at``: when it ended, or was found dead (``crashed``)."""

    name = models.CharField(max_length=80)
    pid = models.PositiveIntegerField()
    born = models.FloatField()
    release = models.PositiveIntegerField()
    started_at = models.DateTimeField(db_default=ShopNow())
    lived_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    crashed = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["name", "-id"], name="process_of_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


@dataclass(frozen=True, kw_only=True)
class CrashLoop:
    """``crashes`` in a row; the last of them was found ``at``."""

    name: str
    crashes: int
    at: datetime


def record_start(name: str, pid: int, born: float, release: int, lives: Callable[[int, float], bool]) -> int:
    """A row for this process, in a transaction of its own. ``lives`` says whether a process of this host does. Opens the incident of a crash loop."""
    name = name[-80:]
    with transaction.atomic():
        may_be_lost()
        before = ProcessRow.objects.filter(name=name, ended_at__isnull=True).select_for_update(skip_locked=True)
        dead = [row.pk for row in before if not lives(row.pid, row.born)]
        ProcessRow.objects.filter(pk__in=dead).update(ended_at=ShopNow(), crashed=True)
        mine = ProcessRow.objects.create(name=name, pid=pid, born=born, release=release)
        _forget(name)
        for loop in crash_loops(name=name):
            _open_incident(loop)
    return mine.pk


def record_life(row: int) -> None:
    """It has lived long enough: the incident about its name is over, unless a sibling of the same name still crashes."""
    with transaction.atomic():
        may_be_lost()
        ProcessRow.objects.filter(pk=row, ended_at__isnull=True).update(lived_at=ShopNow())
        if not crash_loops(name=_name(row)):
            resolve(_incidents_of(_name(row)), "lived", f"it has run for {settings.LIVED_LONG_S:g} s", ACTOR)


def record_end(row: int) -> None:
    """It ends because it was asked to: whoever has asked knows of it."""
    with transaction.atomic():
        may_be_lost()
        ProcessRow.objects.filter(pk=row, ended_at__isnull=True).update(ended_at=ShopNow())
        resolve(_incidents_of(_name(row)), "stopped", "it was stopped as asked", ACTOR)


def crash_loops(**which: object) -> list[CrashLoop]:
    """Names whose newest lives have all ended in a crash, before any of them had lived long enough or was stopped as asked."""
    a_good_life = Q(lived_at__isnull=False) | Q(ended_at__isnull=False, crashed=False)
    since = ProcessRow.objects.filter(a_good_life, name=OuterRef("name"), pk__gt=OuterRef("pk"))
    crashed = ProcessRow.objects.filter(~Exists(since), crashed=True, lived_at__isnull=True, **which)
    found = crashed.values("name").annotate(crashes=Count("pk"), at=Max("ended_at")).filter(crashes__gte=CRASHES).order_by("name")
    return [CrashLoop(**row) for row in found]


def _open_incident(loop: CrashLoop) -> None:
    message = f"{loop.crashes} times in a row it has ended without having been asked to, each time within {settings.LIVED_LONG_S:g} s; its log says why"
    open_incident(IncidentKind.CRASH_LOOP, subject=loop.name, currency=settings.SHOP_CURRENCY, message=message)


def _incidents_of(name: str) -> models.QuerySet[Incident]:
    return Incident.objects.filter(kind=IncidentKind.CRASH_LOOP, subject=name)


def _name(row: int) -> str:
    return ProcessRow.objects.values_list("name", flat=True).get(pk=row)


def _forget(name: str) -> None:
    newest = ProcessRow.objects.filter(name=name).order_by("-id").values_list("pk", flat=True)
    too_many = list(newest[KEPT : KEPT * 2])
    old = Q(started_at__lt=in_seconds(-FORGOTTEN_AFTER_S)) & (Q(ended_at__isnull=False) | ~Q(name=name))
    ProcessRow.objects.filter(Q(pk__in=too_many) | old).delete()
