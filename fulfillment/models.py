"""The journal: one Saga for each order and one StepRecord for each of its steps. With the timeline, it is the truth; only ``engine`` writes it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from fulfillment.clock import ShopNow
from fulfillment.stock import Reservation, StockLevel

__all__ = ["Reservation", "Saga", "SagaState", "StepRecord", "StepState", "StockLevel", "SweepBeat"]


class SagaState(models.TextChoices):
    RUNNING = "running", "Running"
    COMPENSATING = "compensating", "Compensating"
    COMPLETED = "completed", "Completed"
    COMPENSATED = "compensated", "Compensated"

    @property
    def is_final(self) -> bool:
        return self in (SagaState.COMPLETED, SagaState.COMPENSATED)


class Saga(models.Model):
    """One run of all steps for one order.

    ``epoch`` numbers the runs: every journal write carries it. ``wake_at`` says when the sweep looks if nobody else has; NULL only when nothing is left to do.
    ``plan`` pins the steps as they were when the saga was opened. ``failure`` is the status that the order will show once every undo is settled.
    """

    order = models.OneToOneField("orders.Order", models.CASCADE, related_name="saga")
    state = models.CharField(max_length=20, choices=SagaState, default=SagaState.RUNNING)
    epoch = models.PositiveIntegerField(default=1)
    wake_at = models.DateTimeField(null=True)
    relaunches = models.PositiveIntegerField(default=0)
    plan = models.JSONField()
    cancel_requested_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=20, blank=True)
    opened_at = models.DateTimeField(db_default=ShopNow())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["wake_at", "id"], condition=Q(wake_at__isnull=False), name="saga_due")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(wake_at__isnull=False) | Q(state__in=[SagaState.COMPLETED, SagaState.COMPENSATED]), name="saga_open_has_wake_at"
            )
        ]

    def __str__(self) -> str:
        return f"saga {self.pk} ({self.state}, epoch {self.epoch})"


class StepState(models.TextChoices):
    PENDING = "pending", "Pending"
    GRANTED = "granted", "Granted"
    STARTED = "started", "Started"
    SUCCEEDED = "succeeded", "Succeeded"
    REJECTED = "rejected", "Rejected"
    RETRY_WAIT = "retry_wait", "Waiting to retry"
    IN_DOUBT = "in_doubt", "In doubt"
    NOT_NEEDED = "not_needed", "Not needed"
    UNDO_PENDING = "undo_pending", "To be undone"
    UNDO_GRANTED = "undo_granted", "Undo granted"
    UNDO_STARTED = "undo_started", "Undo started"
    UNDO_RETRY_WAIT = "undo_retry_wait", "Undo waiting to retry"
    UNDO_IN_DOUBT = "undo_in_doubt", "Undo in doubt"
    UNDONE = "undone", "Undone"


class StepRecord(models.Model):
    """One step in one saga's journal.

    ``granted_at`` is the first, durable grant under ``do_key``: the provider's key window counts from it. ``doubt``: an earlier try may have happened.
    ``claim`` is written by the one start that may settle this try. Undo key and amount are fixed together when the undo is granted.
    """

    saga = models.ForeignKey(Saga, models.CASCADE, related_name="records")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    state = models.CharField(max_length=20, choices=StepState, default=StepState.PENDING)
    do_key = models.CharField(max_length=80)
    tries = models.PositiveIntegerField(default=0)
    doubt = models.BooleanField(default=False)
    claim = models.UUIDField(null=True)
    granted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    receipt = models.JSONField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    undo_key = models.CharField(max_length=80, blank=True)
    undo_tries = models.PositiveIntegerField(default=0)
    undo_amount_minor = models.BigIntegerField(null=True)
    undo_granted_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["saga", "position"], name="record_once_per_position"),
            models.UniqueConstraint(fields=["saga", "name"], name="record_once_per_step"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"

    @property
    def was_granted(self) -> bool:
        return self.granted_at is not None


class SweepBeat(models.Model):
    """When the sweep last finished a round: its age is shown everywhere, so that its death is noticed. One row."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"swept at {self.at:%H:%M:%S}"
