"""Events of the payment. Amounts are in minor units of ``currency``."""

from dataclasses import dataclass
from typing import ClassVar

from orders.events.attempt import EARLIER, EventOfAttempt, EventOfEffect


@dataclass(frozen=True, kw_only=True)
class PaymentCompleted(EventOfEffect):
    """The customer has paid ``amount_minor``."""

    type: ClassVar[str] = "payment.completed"
    earlier: ClassVar[int] = EARLIER

    currency: str
    amount_minor: int


@dataclass(frozen=True, kw_only=True)
class PaymentFailed(EventOfAttempt):
    """The order turns back because of its payment. ``code``: why. What was perhaps charged all the same is given back."""

    type: ClassVar[str] = "payment.failed"
    earlier: ClassVar[int] = EARLIER

    code: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentRefundRequested(EventOfAttempt):
    """``amount_minor`` is to be given back. Without it nobody knows whether anything was charged: whatever was, is given back."""

    type: ClassVar[str] = "payment.refund.requested"
    earlier: ClassVar[int] = EARLIER - 1

    currency: str
    amount_minor: int | None = None


@dataclass(frozen=True, kw_only=True)
class PaymentRefunded(EventOfEffect):
    """``amount_minor`` was given back. 0: nothing had been charged. What is given back in several parts has an event for each part."""

    type: ClassVar[str] = "payment.refunded"
    earlier: ClassVar[int] = EARLIER

    currency: str
    amount_minor: int
