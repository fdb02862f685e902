"""Rows of the sweep: what it keeps beside the journal about its own work. No saga depends on them."""

from typing import ClassVar

from django.db import models


class Quarantine(models.Model):
    """A saga that the sweep cannot work on. It has no foreign keys: the saga's row may be locked, damaged or unreadable, and nothing here may need it.

    ``code``: of the last failure, an SQLSTATE or the name of an exception. ``inspect_at``: the next inspection. ``notified_at``: since when a person knows.
    """

    saga_id = models.BigIntegerField(primary_key=True)
    order_id = models.BigIntegerField(null=True, db_index=True)
    failures = models.PositiveIntegerField()
    code = models.CharField(max_length=60)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    inspect_at = models.DateTimeField()
    notified_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["inspect_at", "saga_id"], name="quarantine_due")]

    def __str__(self) -> str:
        return f"saga {self.saga_id} in quarantine ({self.code})"


class SweepHeartbeat(models.Model):
    """The heartbeat of the sweep: when it was last at work. One row. Its age is shown everywhere, so that the death of the sweep is noticed.

    ``reconciled_at``: when the sweep last started a reconciliation.
    ``watched_from`` and ``watched_until``: between them the sweep has seen the database's clock go as it should, and as much time has truly passed. It writes them
    together. Code from before them writes ``at`` alone.
    """

    at = models.DateTimeField()
    reconciled_at = models.DateTimeField(null=True)
    watched_from = models.DateTimeField(null=True)
    watched_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"swept at {self.at:%H:%M:%S}"


class Reconciliation(models.Model):
    """The last reconciliation. One row. It is shown everywhere, so that a silent end is noticed.

    ``ended_at``: NULL while it is at work, or if it has died. ``summary``: a sentence, how it ended. ``findings`` and ``unexplained`` (currency → minor units): what
    it has found. ``compared_at``: when one last came to its end, whatever it found.
    """

    class Outcome(models.TextChoices):
        AT_WORK = "at_work", "At work"
        WHOLE = "whole", "Everything was compared"
        IN_PART = "in_part", "Some orders could not be compared"
        FAILED = "failed", "It did not come to its end"

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    summary = models.CharField(max_length=300, blank=True)
    findings = models.PositiveIntegerField(default=0)
    unexplained = models.JSONField(default=dict)
    compared_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"reconciliation of {self.began_at:%H:%M:%S} ({self.outcome})"
