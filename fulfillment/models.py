"""The journal: one Saga for each order and one StepRecord for each of its steps. With the timeline, it is the truth; only ``engine`` writes it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from fulfillment.batch import RetryBatch, RetryItem
from fulfillment.circuit import Circuit, CircuitEntry
from fulfillment.clock import ShopNow
from fulfillment.keys import KeyIssuer
from fulfillment.ledger import LedgerEntry
from fulfillment.movements import StockMovement
from fulfillment.stock import Reservation, StockLevel
from orders.models import Order
from orders.probes import QueueProbe

__all__ = [
    "Circuit",
    "CircuitEntry",
    "KeyIssuer",
    "LedgerEntry",
    "PastAttempt",
    "Quarantine",
    "QueueProbe",
    "Reconciliation",
    "Reservation",
    "RetryBatch",
    "RetryItem",
    "Saga",
    "SagaState",
    "StepRecord",
    "StepState",
    "StockLevel",
    "StockMovement",
    "SweepBeat",
]


class SagaState(models.TextChoices):
    RUNNING = "running", "Running"
    COMPENSATING = "compensating", "Compensating"
    COMPLETED = "completed", "Completed"
    COMPENSATED = "compensated", "Compensated"
    NEEDS_ATTENTION = "needs_attention", "Needs attention"
    CLOSED_BY_OPERATOR = "closed_by_operator", "Closed by an operator"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = (SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.CLOSED_BY_OPERATOR)
DECIDED_BY_PERSONS = (
    *("retry_now", "retry", "look_up", "it_happened", "it_did_not", "start_undo"),
    *("undone_by_hand", "skip", "close", "assign", "snooze", "note"),
)  # each verb of fulfillment.recovery has a permission of its own
OPEN = (SagaState.RUNNING, SagaState.COMPENSATING, SagaState.NEEDS_ATTENTION)


class Saga(models.Model):
    """One run of all steps for one order.

    ``nonce``: what makes its keys its own (``fulfillment.keys``); empty: it is older than they are.
    ``epoch`` numbers the runs: every journal write carries it. ``wake_at`` says when the sweep looks if nobody else has; NULL only when nothing is left to do or
    an incident is open. ``launched_at``: when its message was published last; NULL: the broker did not take it. ``plan`` pins the steps as they were when the
    saga was opened, providers included. ``failure`` is the status that the order will show once every undo is settled: set, the saga goes backward;
    ``failed_step``: where it turned back. Past ``deadline_at`` it turns back, unless the pivot has succeeded. ``release``: of the code that opened it; older code
    leaves it to newer, and takes it over only when none has come. ``left_since``: since when whoever has met it has left it to others, because their code does
    not serve it. ``held_by``: the open circuit before which it waits, since ``held_at``. ``paused_s``: seconds that do not count towards the deadline of the step
    or undo where it stands.
    """

    order = models.OneToOneField("orders.Order", models.CASCADE, related_name="saga")
    nonce = models.CharField(max_length=10, blank=True, default="", db_default="")
    state = models.CharField(max_length=20, choices=SagaState, default=SagaState.RUNNING)
    epoch = models.PositiveIntegerField(default=1)
    wake_at = models.DateTimeField(null=True)
    launched_at = models.DateTimeField(null=True)
    relaunches = models.PositiveIntegerField(default=0)
    plan = models.JSONField()
    release = models.PositiveIntegerField(db_default=1)
    left_since = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=20, blank=True)
    failed_step = models.CharField(max_length=40, blank=True, default="", db_default="")
    deadline_at = models.DateTimeField(null=True)
    held_by = models.CharField(max_length=120, blank=True, default="", db_default="")
    held_at = models.DateTimeField(null=True)
    paused_s = models.FloatField(default=0.0, db_default=0.0)
    opened_at = models.DateTimeField(db_default=ShopNow())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        permissions: ClassVar = [(f"decide_{verb}", f"Can decide: {verb.replace('_', ' ')}") for verb in DECIDED_BY_PERSONS]
        indexes: ClassVar = [
            models.Index(fields=["wake_at", "id"], condition=Q(wake_at__isnull=False), name="saga_due"),
            models.Index(fields=["held_by", "id"], condition=~Q(held_by=""), name="saga_held"),
            models.Index(fields=["state", "opened_at"], condition=Q(state__in=OPEN), name="saga_open"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(wake_at__isnull=False) | Q(state__in=[*FINAL, SagaState.NEEDS_ATTENTION]), name="saga_open_has_wake_at"
            )
        ]

    def __str__(self) -> str:
        return f"saga {self.pk} ({self.state}, epoch {self.epoch})"

    @property
    def failed_at(self) -> str:
        """The step at which it turned back. Empty: it did not, it was cancelled, or older code did not keep which."""
        if not self.failed_step and self.failure.endswith("_failed"):
            return self.failure.removesuffix("_failed")
        return self.failed_step

    @property
    def is_backward(self) -> bool:
        """It has turned back, whatever its state says now."""
        return bool(self.failure)


class StepState(models.TextChoices):
    PENDING = "pending", "Pending"
    GRANTED = "granted", "Granted"
    STARTED = "started", "Started"
    SUCCEEDED = "succeeded", "Succeeded"
    REJECTED = "rejected", "Rejected"
    RETRY_WAIT = "retry_wait", "Waiting to retry"
    IN_DOUBT = "in_doubt", "In doubt"
    DONE_BY_HAND = "done_by_hand", "Done, says a person"
    SKIPPED = "skipped", "Skipped by a person"
    NOT_NEEDED = "not_needed", "Not needed"
    UNDO_PENDING = "undo_pending", "To be undone"
    UNDO_GRANTED = "undo_granted", "Undo granted"
    UNDO_STARTED = "undo_started", "Undo started"
    UNDO_RETRY_WAIT = "undo_retry_wait", "Undo waiting to retry"
    UNDO_IN_DOUBT = "undo_in_doubt", "Undo in doubt"
    UNDO_FAILED = "undo_failed", "Undo failed"
    UNDONE = "undone", "Undone"
    UNDONE_BY_HAND = "undone_by_hand", "Undone, says a person"


class StepRecord(models.Model):
    """One step in one saga's journal.

    ``granted_at`` is the first, durable grant under ``do_key``: the provider's key window counts from it. ``doubt`` and ``undo_doubt``: an earlier try of the
    step, or of its undo, may have happened. ``asked_until`` and ``undo_asked_until``: after this instant no try started so far can have sent anything.
    ``claim`` is written by the one start that may settle this try. ``waits`` counts answers that spend no try. Undo key and amount are fixed together when the
    undo is granted. ``do_attempt`` and ``undo_attempt`` number the keys; ``undo_refused_at``: since when the provider has refused this attempt at the undo for
    good. ``evidence`` is what a person has given for a state set by hand.
    """

    saga = models.ForeignKey(Saga, models.CASCADE, related_name="records")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    state = models.CharField(max_length=20, choices=StepState, default=StepState.PENDING)
    do_key = models.CharField(max_length=80)
    do_attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    tries = models.PositiveIntegerField(default=0)
    waits = models.PositiveIntegerField(default=0)
    doubt = models.BooleanField(default=False)
    claim = models.UUIDField(null=True)
    granted_at = models.DateTimeField(null=True)
    first_started_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    asked_until = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    receipt = models.JSONField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    undo_key = models.CharField(max_length=80, blank=True)
    undo_attempt = models.PositiveSmallIntegerField(default=1)
    undo_tries = models.PositiveIntegerField(default=0)
    undo_doubt = models.BooleanField(default=False)
    undo_amount_minor = models.BigIntegerField(null=True)
    undo_granted_at = models.DateTimeField(null=True)
    undo_asked_until = models.DateTimeField(null=True)
    undo_refused_at = models.DateTimeField(null=True)
    undo_receipt = models.JSONField(null=True)
    evidence = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["saga", "position"], name="record_once_per_position"),
            models.UniqueConstraint(fields=["saga", "name"], name="record_once_per_step"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class PastAttempt(models.Model):
    """An attempt at a step, or at its undo, that its provider has refused for good, and that another one has followed. Its key stays ours: where refusals are not
    kept, an earlier try under it may still land.

    ``amount_minor``: what it was for; NULL: no amount. ``started_at``: its last try; ``asked_until``: after this instant none of its tries can have sent anything.
    """

    record = models.ForeignKey(StepRecord, models.CASCADE, related_name="past_attempts")
    undo = models.BooleanField()
    attempt = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=80)
    amount_minor = models.BigIntegerField(null=True)
    refused_at = models.DateTimeField(null=True)
    code = models.CharField(max_length=60, blank=True)
    message = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(null=True)
    asked_until = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["attempt"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["record", "undo", "attempt"], name="past_attempt_once")]

    def __str__(self) -> str:
        return f"{self.key} ({self.code})"


class Quarantine(models.Model):
    """A saga on which the sweep cannot work. No foreign keys: the row of the saga may be locked, damaged or unreadable, and nothing here may need it.

    ``code``: what the last look failed by, an SQLSTATE or the name of an exception. ``look_at``: the next look. ``told_at``: since when a person knows.
    """

    saga_id = models.BigIntegerField(primary_key=True)
    order_id = models.BigIntegerField(null=True, db_index=True)
    failures = models.PositiveIntegerField()
    code = models.CharField(max_length=60)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    look_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["look_at", "saga_id"], name="quarantine_due")]

    def __str__(self) -> str:
        return f"saga {self.saga_id} in quarantine ({self.code})"


class SweepBeat(models.Model):
    """When the sweep last finished a round: its age is shown everywhere, so that its death is noticed. One row.

    ``reconciled_at``: when it last started a reconciliation.
    """

    at = models.DateTimeField()
    reconciled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"swept at {self.at:%H:%M:%S}"


class Reconciliation(models.Model):
    """The last reconciliation. One row: it is shown everywhere, so that a silent end is noticed.

    ``ended_at``: NULL while it is at work, or where it died. ``told``: how it ended, a sentence. ``findings`` and ``unexplained`` (minor units by currency) are what
    it found. ``compared_at``: when one last came to its end, whatever it found.
    """

    class Outcome(models.TextChoices):
        AT_WORK = "at_work", "At work"
        WHOLE = "whole", "Everything was compared"
        IN_PART = "in_part", "Some orders could not be compared"
        FAILED = "failed", "It did not come to its end"

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    told = models.CharField(max_length=300, blank=True)
    findings = models.PositiveIntegerField(default=0)
    unexplained = models.JSONField(default=dict)
    compared_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"reconciliation of {self.began_at:%H:%M:%S} ({self.outcome})"


def records_of(order: Order) -> list[StepRecord]:
    """Empty: it was not placed through the shop."""
    saga = getattr(order, "saga", None)
    return list(saga.records.all()) if saga else []
