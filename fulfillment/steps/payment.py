"""Payment: charge the customer; compensation refunds that charge."""

from fulfillment.gateways import payments
from fulfillment.step import Kind, Receipt, Step, Undo
from orders.models import Order


class Payment(Step):
    name = "payment"
    kind = Kind.COMPENSABLE

    def execute(self, order: Order, key: str) -> Receipt:
        """Charge ``total_minor`` (minor units). Raises Rejected, Unavailable, InDoubt: the charge may exist."""
        charge = payments().charge(order.number, order.total_minor, order.currency, order.payment_token, key=key)
        return {"charge_id": charge.id, "amount_minor": charge.amount_minor}

    def compensate(self, order: Order, undo: Undo) -> None:
        """Refund ``undo.amount_minor``, fixed when the undo was granted. Without a receipt nobody knows whether the charge exists: cancel it by its own key."""
        if undo.receipt is None or undo.amount_minor is None:
            payments().cancel_by_key(undo.do_key, order.number, key=undo.key)
        else:
            payments().refund(undo.receipt["charge_id"], undo.amount_minor, key=undo.key)

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """Ask the provider what became of ``key``; None means that no charge is known."""
        charge = payments().find(key)
        return {"charge_id": charge.id, "amount_minor": charge.amount_minor} if charge else None
