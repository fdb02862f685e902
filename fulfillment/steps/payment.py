"""Payment: charge the customer; compensation refunds that charge."""

from fulfillment.gateways import Charge, payments
from fulfillment.step import Compensation, Kind, Receipt, Step, StepEvents
from orders.events import PaymentCompleted, PaymentFailed, PaymentRefunded, PaymentRefundRequested
from orders.models import Order


class Payment(Step):
    name = "payment"
    kind = Kind.COMPENSABLE
    role = "payments"
    receipt_fields = ("charge_id", "amount_minor")
    events = StepEvents(
        succeeded=PaymentCompleted, failed=PaymentFailed, compensation_requested=PaymentRefundRequested, compensated=PaymentRefunded
    )

    def asks_minor(self, order: Order) -> int:
        return order.total_minor

    def execute(self, order: Order, key: str) -> Receipt:
        """Charge ``total_minor`` (minor units). Raises Rejected, Unavailable, InDoubt: the charge may exist."""
        charge = payments().charge(order.number, order.total_minor, order.currency, order.payment_token, key=key)
        return _receipt(charge)

    def compensate(self, order: Order, compensation: Compensation) -> Receipt:
        """Refund ``compensation.amount_minor``. Without a receipt nobody knows whether the charge exists: cancel it by its own key."""
        if compensation.receipt is None:
            return {"amount_minor": payments().cancel_by_key(compensation.do_key, order.number, key=compensation.key)}
        amount = compensation.receipt["amount_minor"] if compensation.amount_minor is None else compensation.amount_minor
        refund = payments().refund(compensation.receipt["charge_id"], amount, key=compensation.key)
        return {"refund_id": refund.id, "amount_minor": refund.amount_minor, "currency": refund.currency or compensation.currency}

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
