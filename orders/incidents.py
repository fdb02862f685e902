"""Incidents: what automatic means could not finish. Each names the amount at risk; the reason is a sentence rendered from columns, like the timeline's."""

import json
import logging
import re
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import Q, QuerySet

from orders import facts
from orders.clock import ShopNow
from orders.events import OrderNeedsAttention
from orders.money import money
from orders.text import sanitized
from orders.timeline import EntryKind, HistoryRow

log = logging.getLogger(__name__)

RUNBOOKS = "docs/runbooks"
PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)  # a value that needs no quotes in a line of the log


class IncidentKind(models.TextChoices):
    """Each has a runbook: ``docs/runbooks/<value>.md``."""

    COMPENSATION_EXHAUSTED = "compensation_exhausted", "An undo could not be completed"
    IN_DOUBT = "in_doubt", "Nobody can tell whether it happened"
    STUCK = "stuck", "It does not get on"
    QUARANTINED = "quarantined", "No process can work on it"
    UNKNOWN_STEP = "unknown_step", "This code does not know a step of its plan"
    ORPHAN_PAYMENT = "orphan_payment", "The provider holds what nobody owns"
    PROVIDER_DOWN = "provider_down", "A provider does not answer"
    MISMATCH = "mismatch", "Journal and provider disagree, or cannot be compared"
    DEAD_LETTER = "dead_letter", "Side effects wait for a person"
    CRASH_LOOP = "crash_loop", "A process ends again and again"
    QUEUE_UNSERVED = "queue_unserved", "A queue is not served in time"
    FORGOTTEN_ORDERS = "forgotten_orders", "Providers hold orders that this database has forgotten"
    OVERLOADED = "overloaded", "New orders are refused, because too many wait"


def kind_label(kind: str) -> str:
    """A kind that only a newer release knows is shown by its name."""
    return str(dict(IncidentKind.choices).get(kind) or kind.replace("_", " ").capitalize())


class IncidentState(models.TextChoices):
    OPEN = "open", "Open"
    SNOOZED = "snoozed", "Snoozed"
    RESOLVED = "resolved", "Resolved"


class Incident(models.Model):
    """One thing that a person must decide. ``subject`` is the order's number, also where the order itself does not exist (``order`` is empty then).

    ``amount_minor``: what is at risk, in ``currency``'s minor units. ``proposal``: what a first person has asked for and a second must confirm.
    ``count``: how many things of one cause it stands for.
    """

    order = models.ForeignKey("orders.Order", models.PROTECT, null=True, related_name="incidents")
    subject = models.CharField(max_length=80)
    kind = models.CharField(max_length=30, choices=IncidentKind)
    step = models.CharField(max_length=40, blank=True)
    code = models.CharField(max_length=60, blank=True)
    message = models.CharField(max_length=300, blank=True)
    amount_minor = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    count = models.PositiveIntegerField(db_default=1)
    state = models.CharField(max_length=10, choices=IncidentState, default=IncidentState.OPEN)
    owner = models.CharField(max_length=80, blank=True)
    snoozed_until = models.DateTimeField(null=True)
    proposal = models.JSONField(null=True)
    opened_at = models.DateTimeField(db_default=ShopNow())
    resolved_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=40, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering: ClassVar = ["-amount_minor", "opened_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject", "kind", "step", "code"], condition=~Q(state="resolved"), name="incident_open_once")
        ]
        indexes: ClassVar = [models.Index(fields=["kind", "step", "code"], condition=~Q(state="resolved"), name="incident_open")]

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}"

    @property
    def is_open(self) -> bool:
        return self.state != IncidentState.RESOLVED

    @property
    def fingerprint(self) -> str:
        """The same for incidents that one cause has brought about."""
        return ":".join((self.kind, self.step, self.code))

    @property
    def runbook(self) -> str:
        return f"{RUNBOOKS}/{self.kind}.md"

    @property
    def sentence(self) -> str:
        """The reason, with the amount at risk."""
        if self.kind == IncidentKind.PROVIDER_DOWN:
            return f"{self.message.rstrip('.')}."
        return self._sentence(f" ({self.message.rstrip('.')})" if self.message else "")

    @property
    def without_reason(self) -> str:
        """For whoever shows the reason beside it."""
        return self._sentence("")

    def _sentence(self, why: str) -> str:
        label = kind_label(self.kind)
        what = f"{self.step.capitalize()}: {label[0].lower()}{label[1:]}" if self.step else label
        risk = f"{money(self.amount_minor, self.currency)} at risk" if self.amount_minor else "No money is at risk"
        return f"{what}{why}. {risk}."


def unresolved(**which: Any) -> QuerySet[Incident]:
    """Those that are open, the snoozed ones included."""
    return Incident.objects.exclude(state=IncidentState.RESOLVED).filter(**which)


def open_incident(
    kind: IncidentKind,
    *,
    subject: str,
    currency: str,
    order_id: int | None = None,
    step: str = "",
    code: str = "",
    message: str = "",
    amount_minor: int = 0,
    count: int = 1,
    epoch: int = 0,
) -> Incident:
    """Notify a person by an incident, in the caller's transaction. The same thing has one incident until it is resolved (its amount, count and message are kept up
    to date).
    """
    subject, step, code, message, currency = (
        sanitized(subject, 80),
        sanitized(step, 40),
        sanitized(code, 60),
        sanitized(message, 300),
        sanitized(currency, 3),
    )
    figures: dict[str, Any] = {"amount_minor": amount_minor, "count": count, "message": message}
    found, is_new = unresolved().update_or_create(
        subject=subject,
        kind=kind,
        step=step,
        code=code,
        defaults=figures,
        create_defaults=figures | {"order_id": order_id, "currency": currency},
    )
    if is_new:
        _log_on_commit(logging.ERROR, "incident opened", found)
    if is_new and order_id is not None:
        detail = {"message": found.sentence}
        HistoryRow.objects.create(
            order_id=order_id, kind=EntryKind.INCIDENT, name=step, to_state="open", code=kind, epoch=epoch, detail=detail
        )
        _record(found, order_id)
    return found


def _record(incident: Incident, order_id: int) -> None:
    """The order's columns only: an incident may be about an order that cannot be read."""
    number, correlation_id = Incident.objects.values_list("order__number", "order__correlation_id").get(pk=incident.pk)
    about: dict[str, Any] = {"kind": str(incident.kind), "currency": incident.currency, "amount_minor": incident.amount_minor}
    event = OrderNeedsAttention(number=str(number), incident=incident.pk, **about)
    facts.record(event, order_id, str(correlation_id))
    facts.announce(event)


def resolve_incidents(order_id: int, outcome: str, reason: str, actor: str, **which: Any) -> int:
    """Close the order's open incidents (those that ``which`` filters), in the caller's transaction; returns how many."""
    return resolve(Incident.objects.filter(order_id=order_id, **which), outcome, reason, actor)


def resolve(incidents: QuerySet[Incident], outcome: str, reason: str, actor: str) -> int:
    """Close those that are not resolved yet, in the caller's transaction; returns how many."""
    reason = sanitized(reason, 300)
    waiting = incidents.exclude(state=IncidentState.RESOLVED)
    closing = list(waiting.select_for_update())
    for incident in closing:
        _log_on_commit(logging.INFO, "incident resolved", incident, outcome=outcome)
        if incident.order_id is not None:
            HistoryRow.objects.create(
                order_id=incident.order_id,
                kind=EntryKind.INCIDENT,
                name=incident.step,
                from_state=incident.state,
                to_state="resolved",
                code=incident.kind,
                actor=actor,
                detail={"message": reason},
            )
    resolved = {"state": IncidentState.RESOLVED, "outcome": outcome, "reason": reason, "resolved_at": ShopNow(), "proposal": None}
    waiting.filter(pk__in=[incident.pk for incident in closing]).update(**resolved)
    return len(closing)


def _log_on_commit(level: int, what: str, incident: Incident, **more: str) -> None:
    """One line for whoever watches the logs (docs/monitoring.md). Without the message: a provider's words may hold personal data."""
    names = ("kind", "subject", "step", "code", "amount_minor", "currency", "runbook")
    line = " ".join([what, *(f"{name}={_value(value)}" for name, value in ({n: getattr(incident, n) for n in names} | more).items())])
    transaction.on_commit(lambda: log.log(level, "%s", line), robust=True)


def _value(value: object) -> str:
    """As it is, or as a JSON string: one line, whatever a provider calls its orders."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)
