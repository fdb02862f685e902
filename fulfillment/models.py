"""The journal: one Saga for each order, and one StepRecord for each of its steps. Together with the timeline it is the truth about an order.

Who writes these rows: see ``fulfillment.engine``. The models of other files are imported here, because Django looks for them here.
"""

from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models import Q

from fulfillment.circuit import Circuit, CircuitEntry
from fulfillment.clock import ShopNow
from fulfillment.keys import KeyIssuer
from fulfillment.ledger import LedgerEntry
from fulfillment.movements import StockMovement
from fulfillment.retry_batches import RetryBatch, RetryItem
from fulfillment.stock import Reservation, StockLevel
from fulfillment.sweep_records import Quarantine, Reconciliation, SweepHeartbeat
from orders.models import Order
from orders.queue_probes import QueueProbe

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
    "SweepHeartbeat",
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
# Each verb of fulfillment.recovery has a permission of its own.
DECIDED_BY_PERSONS = (
    *("retry_now", "retry", "look_up", "it_happened", "it_did_not", "start_undo"),
    *("undone_by_hand", "skip", "close", "assign", "snooze", "note"),
)
OPEN = (SagaState.RUNNING, SagaState.COMPENSATING, SagaState.NEEDS_ATTENTION)


DUE_FROM_LAG_S = 40  # more than a lease and a round of the sweep


DUE_FROM_IS_WRONG = pgtrigger.Condition(
    "((NEW.due_from IS NULL) <> (NEW.wake_at IS NULL) OR NEW.due_from > NEW.wake_at"
    f" OR NEW.due_from < NEW.wake_at - interval '{DUE_FROM_LAG_S} seconds')"
)


def _due_from_begins() -> pgtrigger.Trigger:
    """Whoever opens a saga (this code, older code, a person with SQL) need not know ``due_from``."""
    return pgtrigger.Trigger(
        name="due_from_begins",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=DUE_FROM_IS_WRONG,
        func="NEW.due_from = NEW.wake_at; RETURN NEW;",
    )


def _due_from_follows() -> pgtrigger.Trigger:
    """Whoever writes ``wake_at`` keeps ``due_from`` right in the same statement.

    After the update: a trigger before it would lock the row first, and log the lock.
    """
    return pgtrigger.Trigger(
        name="due_from_follows",
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        condition=DUE_FROM_IS_WRONG,
        func="UPDATE fulfillment_saga SET due_from = wake_at WHERE id = NEW.id; RETURN NULL;",
    )


class Saga(models.Model):
    """All steps of one order: the steps forward and, if it turns back, their compensations.

    ``nonce``: a part of its idempotency keys, so that no other saga has the same (``fulfillment.keys``). Empty: the saga is older than nonces.
    ``epoch``: numbers the runs. One half of the fencing token (``fulfillment.engine.claim``).
    ``wake_at``: when the sweep inspects the saga if nothing else has moved it. NULL only when nothing is left to do, or an incident is open.
    ``due_from``: what the index of due sagas has: ``wake_at``, or an instant up to ``DUE_FROM_LAG_S`` before it; NULL as ``wake_at`` is. A step moves ``wake_at``.
    Because ``due_from`` stays, that update writes no index (PostgreSQL calls it HOT). The sweep moves it up where it meets a saga that is not due yet.
    ``launched_at``: when its message was published last. NULL: the broker did not take it. ``relaunches``: launches without any progress since.
    ``plan``: the steps as they were when the saga was opened, with their providers. ``release``: of the code that opened it.
    ``left_since``: since when every process that has met it has left it to others, because its code does not serve it.
    ``failure``: the status that the order will show once every compensation has ended. Set: the saga goes backward. ``failed_step``: where it turned back.
    ``deadline_at``: after it the saga turns back, unless the pivot has succeeded. ``paused_s``: seconds that do not count towards the deadline of the step or
    compensation where it stands. ``held_by``: the open circuit before which it waits, since ``held_at``.
    ``history_pruned_at``: when the history of its order was removed (``fulfillment.pruning``).
    """

    order = models.OneToOneField("orders.Order", models.CASCADE, related_name="saga")
    nonce = models.CharField(max_length=10, blank=True, default="", db_default="")
    state = models.CharField(max_length=20, choices=SagaState, default=SagaState.RUNNING, db_default=SagaState.RUNNING)
    epoch = models.PositiveIntegerField(default=1, db_default=1)
    wake_at = models.DateTimeField(null=True)
    due_from = models.DateTimeField(null=True, editable=False)
    launched_at = models.DateTimeField(null=True)
    relaunches = models.PositiveIntegerField(default=0, db_default=0)
    plan = models.JSONField()
    release = models.PositiveIntegerField(db_default=1)
    left_since = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=20, blank=True, default="", db_default="")
    failed_step = models.CharField(max_length=40, blank=True, default="", db_default="")
    deadline_at = models.DateTimeField(null=True)
    held_by = models.CharField(max_length=120, blank=True, default="", db_default="")
    held_at = models.DateTimeField(null=True)
    paused_s = models.FloatField(default=0.0, db_default=0.0)
    opened_at = models.DateTimeField(db_default=ShopNow())
    closed_at = models.DateTimeField(null=True)
    history_pruned_at = models.DateTimeField(null=True)

    class Meta:
        permissions: ClassVar = [(f"decide_{verb}", f"Can decide: {verb.replace('_', ' ')}") for verb in DECIDED_BY_PERSONS]
        indexes: ClassVar = [
            models.Index(fields=["due_from", "id"], condition=Q(due_from__isnull=False), name="saga_due"),
            models.Index(fields=["held_by", "id"], condition=~Q(held_by=""), name="saga_held"),
            models.Index(fields=["state", "opened_at"], condition=Q(state__in=OPEN), name="saga_open"),
            models.Index(
                fields=["closed_at", "id"], condition=Q(closed_at__isnull=False, history_pruned_at=None), name="saga_with_history"
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(wake_at__isnull=False) | Q(state__in=[*FINAL, SagaState.NEEDS_ATTENTION]), name="saga_open_has_wake_at"
            )
        ]
        triggers: ClassVar = [_due_from_begins(), _due_from_follows()]

    def __str__(self) -> str:
        return f"saga {self.pk} ({self.state}, epoch {self.epoch})"

    @property
    def failed_at(self) -> str:
        """The step at which it turned back. Empty: it did not turn back, or it was cancelled, or older code did not keep the step."""
        if not self.failed_step and self.failure.endswith("_failed"):
            return self.failure.removesuffix("_failed")
        return self.failed_step

    @property
    def is_backward(self) -> bool:
        """The saga has turned back, whatever its state is now."""
        return bool(self.failure)


class StepState(models.TextChoices):
    PENDING = "pending", "Pending"
    SCHEDULED = "scheduled", "Scheduled"
    STARTED = "started", "Started"
    SUCCEEDED = "succeeded", "Succeeded"
    REJECTED = "rejected", "Rejected"
    RETRY_WAIT = "retry_wait", "Waiting to retry"
    IN_DOUBT = "in_doubt", "In doubt"
    DONE_BY_HAND = "done_by_hand", "Done, says a person"
    SKIPPED = "skipped", "Skipped by a person"
    NOT_NEEDED = "not_needed", "Not needed"
    COMPENSATION_PENDING = "compensation_pending", "To be undone"
    COMPENSATION_SCHEDULED = "compensation_scheduled", "Undo scheduled"
    COMPENSATION_STARTED = "compensation_started", "Undo started"
    COMPENSATION_RETRY_WAIT = "compensation_retry_wait", "Undo waiting to retry"
    COMPENSATION_IN_DOUBT = "compensation_in_doubt", "Undo in doubt"
    COMPENSATION_FAILED = "compensation_failed", "Undo failed"
    COMPENSATED = "compensated", "Undone"
    COMPENSATED_BY_HAND = "compensated_by_hand", "Undone, says a person"


class StepRecord(models.Model):
    """One step in one saga's journal, and its compensation. The statement that inserts the saga inserts its records, so there is no foreign key.

    ``claim``: written by the one start that may record the outcome of this try. The other half of the fencing token (``fulfillment.engine.claim``).
    ``scheduled_at``: the first, durable schedule under ``do_key``. The provider's key window counts from it.
    ``tries`` counts towards the budget; ``waits`` counts answers that spend no try.
    ``doubt``, ``compensation_doubt``: an earlier try of the step, or of its compensation, may have had its effect.
    ``asked_until``, ``compensation_asked_until``: after this instant no try that was started so far can have sent anything.
    ``do_attempt``, ``compensation_attempt``: number the keys. Key and amount of a compensation are fixed together when it is scheduled.
    ``compensation_refused_at``: since when the provider has refused this attempt at the compensation for good.
    ``evidence``: what a person has given for a state that was set by hand.
    """

    saga = models.ForeignKey(Saga, models.CASCADE, related_name="records", db_index=False, db_constraint=False)
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    state = models.CharField(max_length=30, choices=StepState, default=StepState.PENDING, db_default=StepState.PENDING)
    do_key = models.CharField(max_length=80)
    do_attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    waits = models.PositiveIntegerField(default=0, db_default=0)
    doubt = models.BooleanField(default=False, db_default=False)
    claim = models.UUIDField(null=True)
    scheduled_at = models.DateTimeField(null=True)
    first_started_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    asked_until = models.DateTimeField(null=True)
    outcome_at = models.DateTimeField(null=True)
    receipt = models.JSONField(null=True)
    error_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    error_message = models.CharField(max_length=300, blank=True, default="", db_default="")
    compensation_key = models.CharField(max_length=86, blank=True, default="", db_default="")
    compensation_attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    compensation_tries = models.PositiveIntegerField(default=0, db_default=0)
    compensation_doubt = models.BooleanField(default=False, db_default=False)
    compensation_amount_minor = models.BigIntegerField(null=True)
    compensation_scheduled_at = models.DateTimeField(null=True)
    compensation_asked_until = models.DateTimeField(null=True)
    compensation_refused_at = models.DateTimeField(null=True)
    compensation_receipt = models.JSONField(null=True)
    evidence = models.CharField(max_length=300, blank=True, default="", db_default="")

    class Meta:
        ordering: ClassVar = ["position"]
        # A plan has a name once (``fulfillment.checks``), so one record per position is one per step.
        constraints: ClassVar = [models.UniqueConstraint(fields=["saga", "position"], name="record_once_per_position")]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class PastAttempt(models.Model):
    """An attempt that its provider has refused for good, and that another one has followed. Its key stays ours.

    Where a provider does not keep refusals, an earlier try under the key may still land.
    ``amount_minor``: what it was for. NULL: no amount. ``started_at``: its last try. ``asked_until``: after this instant none of its tries can have sent anything.
    """

    record = models.ForeignKey(StepRecord, models.CASCADE, related_name="past_attempts", db_index=False)
    compensating = models.BooleanField()
    attempt = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=86)
    amount_minor = models.BigIntegerField(null=True)
    refused_at = models.DateTimeField(null=True)
    code = models.CharField(max_length=60, blank=True)
    message = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(null=True)
    asked_until = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["attempt"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["record", "compensating", "attempt"], name="past_attempt_once")]

    def __str__(self) -> str:
        return f"{self.key} ({self.code})"


def records_of(order: Order) -> list[StepRecord]:
    """Empty: it was not placed through the shop."""
    saga = getattr(order, "saga", None)
    return list(saga.records.all()) if saga else []
