"""Who is owed facts (Subscriber), what became of each fact for each of them (Delivery), their circuits, and the relay's heartbeat (RelayHeartbeat)."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from orders.clock import ShopNow
from orders.facts import Fact

HEARD = """
SELECT f.payload FROM orders_fact f JOIN sideeffects_delivery d ON d.event_id = f.id WHERE d.subscriber = %s AND d.state = 'delivered'
"""  # for a subscriber's audit: every fact that it has heard, once
HEARD_SINCE = f"{HEARD} AND f.at >= %s"  # of those that became true from then on


class BusPosition(models.Model):
    """``published``: the number of the last event that the bus has taken. ``again_from``: all events from this number on are to be sent once more. ``asked_by``: who
    has asked for that last.
    """

    name = models.CharField(max_length=80, primary_key=True)
    published = models.BigIntegerField(default=0)
    again_from = models.BigIntegerField(null=True)
    asked_by = models.CharField(max_length=80, blank=True)
    at = models.DateTimeField(db_default=ShopNow())

    def __str__(self) -> str:
        return f"{self.name}: {self.published}"


class SubscriberState(models.TextChoices):
    ACTIVE = "active", "Active"
    REMOVED = "removed", "Removed"


class Subscriber(models.Model):
    """A subscriber is owed every fact of its ``types`` from number ``starts_at`` on, and of each type from the number that stands beside it.

    ``release``: the newest code that has recorded it. Older code changes nothing here.
    """

    name = models.CharField(max_length=40, primary_key=True)
    starts_at = models.BigIntegerField()
    types = models.JSONField(default=dict, db_default={"order.fulfilled": 0})  # what code from before this column subscribes to
    state = models.CharField(max_length=10, choices=SubscriberState, default=SubscriberState.ACTIVE)
    release = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"

    def is_owed(self, type_: str, number: int) -> bool:
        """Whether a fact of this type and number. ``IS_OWED`` says the same in SQL."""
        return type_ in self.types and max(self.starts_at, self.types[type_]) <= number


# Of a ``subscriber`` and a ``fact``; a fact without a number is owed as the next one would be.
IS_OWED = """
subscriber.state = 'active' AND subscriber.starts_at <= coalesce(fact.number, subscriber.starts_at)
    AND (subscriber.types->>fact.type)::bigint <= coalesce(fact.number, (subscriber.types->>fact.type)::bigint)
""".strip()


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Pending"
    STARTED = "started", "Started"
    RETRY_WAIT = "retry_wait", "Waiting to retry"
    DELIVERED = "delivered", "Delivered"
    DEAD = "dead", "Dead letter"
    SUBSCRIBER_REMOVED = "held", "Held: its subscriber was removed"
    DISCARDED = "discarded", "Discarded by a person"


OPEN = (DeliveryState.PENDING, DeliveryState.STARTED, DeliveryState.RETRY_WAIT)


class Delivery(models.Model):
    """One fact for one subscriber. Its worker writes the row together with the effect. If that did not happen, the relay writes it as owed.

    While it is open, ``wake_at`` or ``launched_at`` is set. At ``wake_at`` the relay inspects it. After ``launched_at`` the relay publishes it again when a probe
    proves that its message is lost. ``relaunches``: messages that the relay has published. ``unspent``: starts that cost no try. ``claim``: written by the one
    start that may record the outcome of this try. ``failing_since``: the first try that counts; the limit in time runs from then on.
    """

    # Its column is named as in the first release, whose workers still write it while this one is being deployed. No foreign key: its check would lock the fact for
    # each delivery, and no fact is ever deleted while it has one (the trigger ``kept``).
    fact = models.ForeignKey(Fact, models.PROTECT, related_name="deliveries", db_column="event_id", db_index=False, db_constraint=False)
    subscriber = models.CharField(max_length=40)
    state = models.CharField(max_length=12, choices=DeliveryState, default=DeliveryState.PENDING, db_default=DeliveryState.PENDING)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    relaunches = models.PositiveIntegerField(default=0, db_default=0)
    unspent = models.PositiveIntegerField(default=0, db_default=0)
    failing_since = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True)
    launched_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    error_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    error_message = models.CharField(max_length=300, blank=True, default="", db_default="")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["subscriber"]
        verbose_name_plural = "deliveries"
        permissions: ClassVar = [("replay_delivery", "Can replay dead letters"), ("discard_delivery", "Can discard deliveries")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fact", "subscriber"], name="delivery_once_per_subscriber"),
            models.CheckConstraint(
                condition=~Q(state__in=OPEN) | Q(wake_at__isnull=False) | Q(launched_at__isnull=False), name="delivery_open_has_a_time"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["wake_at", "id"], condition=Q(wake_at__isnull=False), name="delivery_due"),
            models.Index(fields=["launched_at", "id"], condition=Q(launched_at__isnull=False), name="delivery_launched"),
            models.Index(fields=["subscriber"], condition=Q(state__in=["dead", "held"]), name="delivery_for_a_person"),
            models.Index(fields=["failing_since"], condition=Q(failing_since__isnull=False), name="delivery_failing"),
        ]

    def __str__(self) -> str:
        return f"{self.subscriber}: {self.state}"

    # No column: whether its circuit had a row when this try started; only then an answer must be recorded there.
    is_first_since_a_failure = False

    @property
    def key(self) -> str:
        """An idempotency key: it is the same for every try, so that an outside service may drop repeats."""
        return f"{self.fact_id}.{self.subscriber}"


class Circuit(models.Model):
    """The circuit breaker of a subscriber that calls outside. No row: it is closed, and nothing has failed since the last answer.

    ``failures``: while it is closed, the deliveries that have failed since the last answer, each once. ``opened_at``: empty while it is closed. ``probe``: the
    delivery that was the last probe; it may call until ``probe_until``. ``failed_probes``: how many have failed. ``wakes``: it has closed, and the deliveries that
    wait were not woken yet.
    """

    subscriber = models.CharField(max_length=40, primary_key=True)
    failures = models.JSONField(default=list)
    last_error = models.CharField(max_length=120, blank=True)
    opened_at = models.DateTimeField(null=True)
    next_probe_at = models.DateTimeField(null=True)
    failed_probes = models.PositiveIntegerField(default=0)
    probe = models.BigIntegerField(null=True)
    probe_until = models.DateTimeField(null=True)
    wakes = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.subscriber}: {'not answered' if self.is_open else 'closed'}"

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None


class RelayHeartbeat(models.Model):
    """The relay's heartbeat: when it was last at work. Its age is shown everywhere, so that a dead relay is noticed. One row."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"relayed at {self.at:%H:%M:%S}"
