"""What the steps expect of a payment provider and of a carrier, whoever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Money taken, in minor units; ``refunded_minor`` of it has been given back since."""

    id: str
    amount_minor: int
    currency: str
    refunded_minor: int = 0


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money given back, in minor units."""

    id: str
    charge_id: str
    amount_minor: int


@dataclass(frozen=True, kw_only=True)
class Label:
    """A parcel that was booked; ``tracking`` is the customer's number."""

    id: str
    tracking: str
    cancelled: bool = False


class PaymentGateway(Protocol):
    """Every call is at most one effect per ``key``, and raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors)."""

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        """Take the money. Rejected: the card was declined. InDoubt: the charge may exist."""

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        """Give ``amount_minor`` of a charge back. InDoubt: it may be on its way; any refusal that is no decline is InDoubt too."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        """Nothing is charged under ``do_key`` any more, and what was is refunded: the minor units given back now, 0 for none."""

    def find(self, key: str) -> Charge | None:
        """The charge under ``key``. None: it is not there now; it may still land."""


class CarrierGateway(Protocol):
    """Every call is at most one effect per ``key``, and raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors)."""

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        """Book one label; ``parcels``: {sku, quantity} each. Rejected: the carrier does not go there. InDoubt: a label may exist."""

    def cancel(self, label_id: str, *, key: str) -> None:
        """Cancel a label; one that is cancelled already is fine."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        """Nothing is booked under ``do_key`` any more, and what was is cancelled: the id of its label, None if there is none."""

    def find(self, key: str) -> Label | None:
        """The label under ``key``. None: it is not there now; it may still land."""
