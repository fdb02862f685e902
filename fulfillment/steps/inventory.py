"""Inventory: hold every line's pieces in our own stock; compensation releases exactly those reservations. It is a local step, and never in doubt."""

from fulfillment import stock
from fulfillment.errors import Rejected
from fulfillment.step import Compensation, Kind, Receipt, Step, StepEvents
from orders.events import InventoryFailed, InventoryReleased, InventoryReserved
from orders.models import Order


class Inventory(Step):
    name = "inventory"
    kind = Kind.COMPENSABLE
    local = True
    events = StepEvents(succeeded=InventoryReserved, failed=InventoryFailed, compensated=InventoryReleased)

    def execute(self, order: Order, key: str) -> Receipt:
        """Reserve all lines or none. Raises Rejected: too few pieces."""
        try:
            return {"reservations": stock.reserve(order.number, {line.sku: line.quantity for line in order.lines.all()})}
        except stock.OutOfStock as short:
            raise Rejected(str(short), code="out_of_stock") from None

    def compensate(self, order: Order, compensation: Compensation) -> None:
        """Release by the ids of the reservations, so that a repetition changes nothing."""
        stock.release((compensation.receipt or {}).get("reservations", []))

    def resolve(self, order: Order, key: str) -> Receipt | None:
        return None
