"""Orders: the catalogue, and orders with snapshots of what the customer saw. Money is integer minor units plus an ISO currency."""

from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F
from django.db.models.expressions import OrderBy
from django.db.models.functions import Upper

from orders.client_tokens import ClientToken
from orders.clients import ClientSettings
from orders.clock import ShopNow
from orders.facts import Fact
from orders.incidents import Incident
from orders.operators import OperatorToken
from orders.processes import ProcessRow
from orders.queue_probes import QueueProbe
from orders.refusals import RefusedAttempt
from orders.timeline import HistoryRow, TimelineEntry
from orders.turns import TurnRow

__all__ = [
    "ClientSettings",
    "ClientToken",
    "Fact",
    "HistoryRow",
    "Incident",
    "OperatorToken",
    "Order",
    "OrderLine",
    "ProcessRow",
    "Product",
    "QueueProbe",
    "RefusedAttempt",
    "Status",
    "TimelineEntry",
    "TurnRow",
]


class Status(models.TextChoices):
    """What the customer sees. A final failure is shown only when every compensation has ended."""

    PLACED = "placed", "Placed"
    PROCESSING = "processing", "Processing"
    FULFILLED = "fulfilled", "Fulfilled"
    COMPENSATING = "compensating", "Compensating"
    PAYMENT_FAILED = "payment_failed", "Payment failed"
    INVENTORY_FAILED = "inventory_failed", "Inventory failed"
    SHIPPING_FAILED = "shipping_failed", "Shipping failed"
    FAILED = "failed", "Failed"  # at a step that has no status of its own
    CANCELLED = "cancelled", "Cancelled"

    @classmethod
    def legal_moves(cls) -> dict["Status", frozenset["Status"]]:
        """From each status, where an order may go; the database refuses every other move."""
        failures = frozenset({cls.PAYMENT_FAILED, cls.INVENTORY_FAILED, cls.SHIPPING_FAILED, cls.FAILED, cls.CANCELLED})
        return {
            cls.PLACED: frozenset({cls.PROCESSING, cls.COMPENSATING, cls.CANCELLED}),
            cls.PROCESSING: frozenset({cls.FULFILLED, cls.COMPENSATING}) | failures,
            cls.COMPENSATING: failures,
        }

    @classmethod
    def failure_of(cls, step: str) -> "Status":
        """The final status of an order that turned back because ``step`` failed."""
        own = f"{step}_failed"
        return cls(own) if own in cls.values else cls.FAILED

    @classmethod
    def groups(cls) -> dict[str, tuple["Status", ...]]:
        """What a client may ask for together. ``open``: it may still move; ``ended``: it does not; ``failed``: it ended, and neither fulfilled nor cancelled."""
        ended = tuple(status for status in cls if status.is_final)
        return {
            "open": tuple(status for status in cls if not status.is_final),
            "ended": ended,
            "failed": tuple(status for status in ended if status not in (cls.FULFILLED, cls.CANCELLED)),
        }

    @property
    def is_final(self) -> bool:
        return self not in self.legal_moves()

    @property
    def condition(self) -> models.Q:
        """Which orders have this status, on an index: of those that have ended, or of the few that are open."""
        return models.Q(ended_as=self.value) if self.is_final else models.Q(ended_as="", status=self.value)


class Product(models.Model):
    """What the shop sells. ``price_minor`` in the shop's currency; an order keeps the price of its day."""

    sku = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    price_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["sku"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sku"], name="product_once_per_sku"),
            models.CheckConstraint(condition=models.Q(price_minor__gt=0), name="product_price_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"


class _AfterTheUpdate(pgtrigger.FSM):
    """A trigger before an update locks the row first, and logs the lock. After it, what is refused is taken back as well."""

    when = pgtrigger.After


def _status_machine() -> pgtrigger.FSM:
    moves = [(str(was.value), str(to.value)) for was, targets in Status.legal_moves().items() for to in sorted(targets)]
    return _AfterTheUpdate(name="status_machine", field="status", transitions=moves, condition=pgtrigger.AnyChange("status"))


def _newest_first(tie: str = "id") -> tuple[OrderBy, OrderBy]:
    """The sequence of a filter's pages. Nothing is NULL here: NULLS LAST makes it another sequence than that of the indexes without a filter.

    PostgreSQL believes that the orders that match lie evenly among all orders. So it would read an index of all orders, the newest first, until it has found enough,
    and pass all of them where a product was last sold years ago.
    """
    return F("placed_at").desc(nulls_last=True), F(tie).desc()


_FINAL = ", ".join(f"'{status.value}'" for status in Status if status.is_final)
_ENDED_AS = f"CASE WHEN {{row}}status IN ({_FINAL}) THEN {{row}}status ELSE '' END"
_SETTLED_AT = f"CASE WHEN {{row}}status IN ({_FINAL}) THEN {{at}} END"
_ENDED_IS_WRONG = (
    f"NEW.ended_as IS DISTINCT FROM {_ENDED_AS.format(row='NEW.')}"
    f" OR NEW.settled_at IS DISTINCT FROM {_SETTLED_AT.format(row='NEW.', at='NEW.updated_at')}"
)


def _ended_before() -> pgtrigger.Trigger:
    """An order that is inserted as it ended elsewhere."""
    return pgtrigger.Trigger(
        name="ended_before",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=pgtrigger.Condition(_ENDED_IS_WRONG),
        func=f"NEW.ended_as = {_ENDED_AS.format(row='NEW.')}; NEW.settled_at = {_SETTLED_AT.format(row='NEW.', at='NEW.updated_at')}; RETURN NEW;",
    )


def _touched() -> pgtrigger.Trigger:
    """Whoever changes the row (this code, older code, a person with SQL) changes ``updated_at`` in the same statement, and cannot forget it.

    So it is with ``ended_as`` and ``settled_at``. After the update, as the status machine: who has written all three right pays for nothing.
    """
    return pgtrigger.Trigger(
        name="touched",
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        condition=pgtrigger.Condition(
            f"OLD.* IS DISTINCT FROM NEW.* AND (NEW.updated_at IS DISTINCT FROM shop_now() OR {_ENDED_IS_WRONG})"
        ),
        func=f"""
            UPDATE orders_order SET updated_at = shop_now(), ended_as = {_ENDED_AS.format(row="")}, settled_at = {_SETTLED_AT.format(row="", at="shop_now()")}
            WHERE id = NEW.id;
            RETURN NULL;
        """,
    )


class Order(models.Model):
    """One order: what was bought, for whom, at which price. The rest (why it is where it is) stands in its saga's journal.

    ``(client, idempotency_key)`` is unique for ever, so that a second order under one key is impossible; ``digest`` distinguishes a replay from a reuse, by the rule
    ``digest_version`` of ``orders.api.digest``.
    ``failure_code``: why it turned back (docs/errors.md, codes). Empty: it did not, or it was cancelled, or nobody knows.
    ``updated_at``: when this row last changed.
    ``ended_as``, ``settled_at``: status and ``updated_at`` of an order that has ended; empty before. Indexes have these, and not the columns that change while it is
    open: so the update to "processing" writes no index (PostgreSQL calls it HOT). Orders that are open are few, and have one index (``order_open``).
    """

    number = models.CharField(max_length=20)
    reference = models.CharField(max_length=80, blank=True, default="", db_default="")
    status = models.CharField(max_length=20, choices=Status, default=Status.PLACED, db_default=Status.PLACED)
    failure_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField()
    customer_email = models.EmailField()
    customer_name = models.CharField(max_length=120)
    shipping_address = models.JSONField()
    payment_token = models.CharField(max_length=80)
    client = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="orders", db_index=False)
    idempotency_key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)  # of version 1, for code from before the versions
    digest = models.CharField(max_length=64, blank=True, db_default="")
    digest_version = models.PositiveSmallIntegerField(db_default=1)
    correlation_id = models.CharField(max_length=64)
    placed_at = models.DateTimeField(db_default=ShopNow())
    updated_at = models.DateTimeField(db_default=ShopNow())
    finished_at = models.DateTimeField(null=True)
    ended_as = models.CharField(max_length=20, blank=True, default="", db_default="", editable=False)
    settled_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("cancel_order", "Can cancel an order"), ("forget_customer", "Can have a customer forgotten")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["number"], name="order_once_per_number"),
            models.UniqueConstraint(fields=["client", "idempotency_key"], name="order_once_per_key"),
            models.CheckConstraint(condition=models.Q(total_minor__gt=0), name="order_total_positive"),
        ]
        # Those of a client end in the sequence of its pages (``orders.api.selection``), so that a page is read from the index as it stands there.
        indexes: ClassVar = [
            models.Index(fields=["client", "-placed_at", "-id"], name="order_client_newest"),
            models.Index("client", "ended_as", *_newest_first(), condition=~models.Q(ended_as=""), name="order_client_ended"),
            models.Index(fields=["client", "settled_at", "id"], condition=models.Q(settled_at__isnull=False), name="order_client_settled"),
            models.Index(fields=["client", "id"], condition=models.Q(ended_as=""), name="order_open"),
            models.Index("client", "reference", *_newest_first(), condition=~models.Q(reference=""), name="order_client_reference"),
            models.Index("client", "failure_code", *_newest_first(), condition=~models.Q(failure_code=""), name="order_client_failure"),
            models.Index(Upper("customer_email"), "client", *_newest_first(), name="order_email_client"),
            models.Index(fields=["ended_as", "-id"], condition=~models.Q(ended_as=""), name="order_ended_newest"),
            BrinIndex(fields=["placed_at"], pages_per_range=32, autosummarize=True, name="order_placed"),
        ]
        triggers: ClassVar = [_status_machine(), _ended_before(), _touched()]

    def __str__(self) -> str:
        return self.number

    @property
    def attention(self) -> bool:
        """A person must decide something about this order. Never shown to customers; prefetch ``incidents`` where many are shown."""
        return any(incident.is_open for incident in self.incidents.all())

    def move(self, to: Status, **changes: Any) -> bool:
        """Move the stored status, if the stored one still allows it; says whether it did. Only the engine calls this, inside its transaction."""
        sources = [was for was, targets in Status.legal_moves().items() if to in targets]
        moved = Order.objects.filter(pk=self.pk, status__in=sources).update(status=to, **changes)
        if moved:
            self.status = to
        return bool(moved)


def _of_its_order() -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name="of_its_order",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        func="SELECT client_id, placed_at INTO NEW.client_id, NEW.placed_at FROM orders_order WHERE id = NEW.order_id; RETURN NEW;",
    )


class OrderLine(models.Model):
    """A product as it was when it was ordered. The transaction that inserts the order inserts its lines, so there is no foreign key.

    ``client_id``, ``placed_at``: of the order, which keeps both for ever. The database copies them, for one index: the orders of a client in which a product is.
    """

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines", db_index=False, db_constraint=False)
    sku = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    quantity = models.PositiveIntegerField()
    unit_price_minor = models.BigIntegerField()
    client_id = models.IntegerField(null=True, editable=False)
    placed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index("client_id", "sku", *_newest_first("order"), name="line_client_sku")]
        triggers: ClassVar = [_of_its_order()]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="line_quantity_positive"),
            models.UniqueConstraint(fields=["order", "sku"], name="line_once_per_sku"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"

    @property
    def total_minor(self) -> int:
        return self.quantity * self.unit_price_minor
