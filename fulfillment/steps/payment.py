"""Payment: charge the customer; compensation refunds that charge."""

from fulfillment.gateways import Charge, payments
from fulfillment.step import Kind, Receipt, Step, Undo
from orders.models import Order


class Payment(Step):
    name = "payment"
    kind = Kind.COMPENSABLE
    role = "payments"
    receipt_fields = ("charge_id", "amount_minor")

    def asks_minor(self, order: Order) -> int:
        return order.total_minor

    def execute(self, order: Order, key: str) -> Receipt:
        """Charge ``total_minor`` (minor units). Raises Rejected, Unavailable, InDoubt: the charge may exist."""
        charge = payments().charge(order.number, order.total_minor, order.currency, order.payment_token, key=key)
        return _receipt(charge)

    def compensate(self, order: Order, undo: Undo) -> Receipt:
        """Refund ``undo.amount_minor``. Without a receipt nobody knows whether the charge exists: cancel it by its own key."""
        if undo.receipt is None:
            return {"amount_minor": payments().cancel_by_key(undo.do_key, order.number, key=undo.key)}
        amount = undo.receipt["amount_minor"] if undo.amount_minor is None else undo.amount_minor
        refund = payments().refund(undo.receipt["charge_id"], amount, key=undo.key)
        return {"refund_id": refund.id, "amount_minor": refund.amount_minor, "currency": refund.currency or undo.currency}

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """Ask the provider what became of ``key``; None means that no charge is known."""
        charge = payments().find(key)
        return _receipt(charge) if charge else None

    def left(self, order: Order, key: str) -> int:
        """What remains captured under ``key`` at the provider, in minor units."""
        charge = payments().find(key)
        return charge.amount_minor - charge.refunded_minor if charge else 0


def _receipt(charge: Charge) -> Receipt:
    return {"charge_id": charge.id, "amount_minor": charge.amount_minor, "currency": charge.currency}
