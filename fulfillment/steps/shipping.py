"""Shipping: book a parcel with the carrier; compensation cancels it. It is the pivot: once it is booked, the order only goes forward."""

from fulfillment.gateways import carrier
from fulfillment.step import Compensation, Kind, Receipt, Step, StepEvents
from orders.events import ShipmentCreated, ShipmentFailed
from orders.models import Order


class Shipping(Step):
    name = "shipping"
    kind = Kind.PIVOT
    role = "carrier"
    compensation_blocks = True  # never refund while the parcel may still leave
    receipt_fields = ("label_id",)
    events = StepEvents(succeeded=ShipmentCreated, failed=ShipmentFailed)

    def execute(self, order: Order, key: str) -> Receipt:
        """Book a label for all lines. Raises Rejected, Unavailable, InDoubt: a label may exist."""
        parcels = [{"sku": line.sku, "quantity": line.quantity} for line in order.lines.all()]
        label = carrier().book(order.number, order.shipping_address, parcels, key=key)
        return {"label_id": label.id, "tracking": label.tracking}

    def compensate(self, order: Order, compensation: Compensation) -> Receipt:
        """Cancel the label. A booking in doubt is cancelled by its own key. Rejected: the parcel leaves."""
        if compensation.receipt is None:
            return {"label_id": carrier().cancel_by_key(compensation.do_key, order.number, key=compensation.key)}
        carrier().cancel(compensation.receipt["label_id"], key=compensation.key)
        return {"label_id": compensation.receipt["label_id"]}

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """Ask the carrier what became of ``key``; None means that no label is known."""
        label = carrier().find(key)
        return {"label_id": label.id, "tracking": label.tracking} if label else None

    def left(self, order: Order, key: str) -> int:
        """1 while the carrier has a label under ``key`` that is not cancelled; else 0."""
        label = carrier().find(key)
        return int(label is not None and not label.cancelled)
