"""The one history: every change of state of an order, its saga and its deliveries writes an entry in the same transaction.

Entries have columns, never sentences: ``sentence`` renders one for people. The instants come from ``shop_now()``, the one clock of the database.

Note: one row for one transition. Rows are written (HistoryRow), and entries are read (TimelineEntry, a view). A transition of an order that meets no trouble moves
two or three things at once, and always the same: its row has a kind of its own (RowKind), and the view makes an entry of each move. Any other row is one entry.
"""

import copy
from collections.abc import Callable
from typing import ClassVar

import pgtrigger
from django.db import models

from orders.clock import ShopNow
from orders.database import OWN_DATABASE


class EntryKind(models.TextChoices):
    """What an entry says."""

    ORDER = "order", "order"  # the order's status moved
    SAGA = "saga", "saga"  # the saga's state moved
    STEP = "step", "step"  # a step record's state moved
    TAKE_OVER = "take_over", "taken over"
    RELAUNCH = "relaunch", "message published again"
    LEFT = "left", "left to another release"
    HELD = "held", "held"  # it waits before an open circuit, or waits no longer
    LATE = "late", "came too late"  # a zombie: it learned something and wrote nothing but this
    CANCEL = "cancel", "cancel"
    OPERATOR = "operator", "operator"
    INCIDENT = "incident", "incident"  # a person is notified, or has resolved it
    DELIVERY = "delivery", "side effect"


class RowKind(models.TextChoices):
    """A row that stands for several entries, in this sequence. Which entries: the view, in the last migration that makes it."""

    OPENED = "opened", "the order is placed, its saga runs, the step `name` is scheduled"
    BEGUN = "begun", "the step `name` is started, and the order is processing"
    HANDED_ON = "handed_on", "the step `name` has succeeded, and the step `code` is scheduled"
    FULFILLED = "fulfilled", "the step `name` has succeeded, the saga is completed, the order is fulfilled"


class _Entry(models.Model):
    at = models.DateTimeField(db_default=ShopNow())
    kind = models.CharField(max_length=12, choices=EntryKind)
    name = models.CharField(max_length=40, blank=True, default="", db_default="")
    from_state = models.CharField(max_length=30, blank=True, default="", db_default="")
    to_state = models.CharField(max_length=30, blank=True, default="", db_default="")
    epoch = models.PositiveIntegerField(default=0, db_default=0)
    code = models.CharField(max_length=60, blank=True, default="", db_default="")
    detail = models.JSONField(default=dict, db_default={})
    actor = models.CharField(max_length=80, blank=True, default="", db_default="")

    class Meta:
        abstract = True


class HistoryRow(_Entry):
    """What is written. ``kind``: an EntryKind or a RowKind. Append-only: the database refuses updates and deletes.

    Note: one index. In the database the primary key is (order, id), because everybody asks for the entries of an order. Whoever asks for an ``id`` alone reads the
    whole table. There is no foreign key either: its check would lock the order once for each entry (docs/decisions/0034-fewer-bytes-per-order.md).
    """

    order = models.ForeignKey("orders.Order", models.CASCADE, related_name="+", db_index=False, db_constraint=False)

    class Meta:
        db_table = "orders_history"
        ordering: ClassVar = ["id"]
        triggers: ClassVar = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class TimelineEntry(_Entry):
    """What is read: one change. ``name`` is the step or subscriber it is about, or empty.

    ``id``: that of its row, plus its place there. Ids of rows lie four apart, so that no two entries have the same.
    """

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey("orders.Order", models.DO_NOTHING, related_name="timeline", db_index=False, db_constraint=False)

    class Meta:
        managed = False
        ordering: ClassVar = ["id"]
        verbose_name_plural = "timeline entries"

    def __str__(self) -> str:
        return sentence(self)


def history() -> "models.Prefetch[str, models.QuerySet[TimelineEntry], str]":
    """To be prefetched with orders: as it happened."""
    return models.Prefetch("timeline", TimelineEntry.objects.order_by("at", "id"))


def sentence(entry: TimelineEntry, inside: bool = True) -> str:
    """One line for people, rendered from the columns; without ``inside``, without the provider's own words, and without the name of who has decided."""
    if not inside:
        entry = copy.copy(entry)
        entry.detail, entry.actor = {}, ""
    subject = {"order": "Order", "saga": "Saga"}.get(entry.kind, entry.name.capitalize() or "Saga")
    render = _SENTENCES.get(entry.kind, _moved)  # a kind that a newer release has written is shown plainly
    return render(subject, entry)


def _moved(subject: str, entry: TimelineEntry) -> str:
    if entry.kind == EntryKind.STEP and entry.code == OWN_DATABASE:
        return _put_off(subject, entry)
    reason = f": {entry.detail['message']}" if entry.detail.get("message") else ""
    return f"{subject} {_in_words(entry)}{reason}"


def _in_words(entry: TimelineEntry) -> str:
    """The state, as people read it: the compensation of a step is an undo to them."""
    state = entry.to_state
    if entry.kind in (EntryKind.STEP, EntryKind.LATE):
        state = state.replace("compensation", "undo").replace("compensated", "undone")
    return state.replace("_", " ")


def _put_off(subject: str, entry: TimelineEntry) -> str:
    """Its state alone would say that it may start, or that it failed."""
    if not entry.detail.get("message"):
        return f"{subject} waits, and goes on by itself"
    doubt = " (in doubt)" if entry.to_state.endswith("in_doubt") else ""
    return f"{subject}{doubt} waits for our own database, and spends neither tries nor time: {entry.detail['message']}"


def _taken_over(subject: str, entry: TimelineEntry) -> str:
    return f"{subject} was taken over as epoch {entry.epoch}: {entry.detail.get('message', 'its lease ended')}"


def _left(subject: str, entry: TimelineEntry) -> str:
    mine, needed = entry.detail.get("release"), entry.detail.get("needs")
    return f"{subject} was left to a process of release {needed}: one of release {mine} has met it, and does not serve it"


def _late(subject: str, entry: TimelineEntry) -> str:
    followed = f": {entry.detail['message']}" if entry.detail.get("message") else " and changed nothing"
    return f"A late worker of {entry.name} (epoch {entry.epoch}) learned '{_in_words(entry)}'{followed}"


def _relaunched(subject: str, entry: TimelineEntry) -> str:
    return f"{subject} had not started: its message was published again"


def _held(subject: str, entry: TimelineEntry) -> str:
    """``code``: the circuit."""
    why = entry.detail.get("message", "the provider does not answer")
    if entry.to_state == "released":
        return f"{subject} waits no longer: {why}"
    return f"{subject} waits, and spends neither tries nor time: {why}"


def _cancelled(subject: str, entry: TimelineEntry) -> str:
    if entry.to_state == "too_late":
        return "The cancel came too late: the carrier had accepted the parcel"
    return f"Cancel requested{' by ' + entry.actor if entry.actor else ''}"


def _operator(subject: str, entry: TimelineEntry) -> str:
    """``detail``: what the person gave, and the reason."""
    given = "".join(
        f", {name} {entry.detail[name]}" for name in ("amount", "evidence", "answer", "owner", "until") if entry.detail.get(name)
    )
    reason = f": {entry.detail['reason']}" if entry.detail.get("reason") else ""
    about = f" ({entry.name})" if entry.name else ""
    return f"{entry.actor or 'An operator'}: {entry.code.replace('_', ' ')}{about}{given}{reason}"


def _incident(subject: str, entry: TimelineEntry) -> str:
    message = entry.detail.get("message") or entry.code.replace("_", " ")
    if entry.to_state == "open":
        return f"A person is notified. {message}"
    return f"Incident resolved{' by ' + entry.actor if entry.actor else ''}: {message}"


_SENTENCES: dict[str, Callable[[str, TimelineEntry], str]] = {
    EntryKind.TAKE_OVER: _taken_over,
    EntryKind.LEFT: _left,
    EntryKind.HELD: _held,
    EntryKind.LATE: _late,
    EntryKind.RELAUNCH: _relaunched,
    EntryKind.CANCEL: _cancelled,
    EntryKind.OPERATOR: _operator,
    EntryKind.INCIDENT: _incident,
}
