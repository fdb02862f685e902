"""What the steps expect of a payment provider and of a carrier, whoever it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fulfillment.card import Card


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Money taken, in minor units; ``refunded_minor`` of it has been given back since. ``key``: under which it was asked for. ``currency``: in whatever case the
    provider writes it, and in capital letters here, as ISO 4217 has it.
    """

    id: str
    amount_minor: int
    currency: str
    refunded_minor: int = 0
    key: str = ""
    order_number: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "currency", _in_capitals(self.currency))

    @property
    def is_open(self) -> bool:
        """Some of it has not been given back."""
        return self.refunded_minor < self.amount_minor


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money given back, in minor units. ``currency`` empty: the provider does not say, and it is the charge's."""

    id: str
    charge_id: str
    amount_minor: int
    currency: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "currency", _in_capitals(self.currency))


def _in_capitals(currency: str) -> str:
    """Whatever is no text stays as it is, and is refused where it is read."""
    return currency.upper() if isinstance(currency, str) and currency.isascii() else currency


@dataclass(frozen=True, kw_only=True)
class Label:
    """A parcel that was booked; ``tracking`` is the customer's number. ``key``: under which it was asked for."""

    id: str
    tracking: str
    cancelled: bool = False
    key: str = ""
    order_number: str = ""

    @property
    def is_open(self) -> bool:
        """The parcel leaves, or has left."""
        return not self.cancelled


class PaymentGateway(Protocol):
    """Every call is at most one effect per ``key``, as far as ``card`` says so.

    Raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors).
    """

    @property
    def card(self) -> Card:
        """What this provider promises about keys and look-ups."""

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        """Take the money. Rejected: the card was declined. InDoubt: the charge may exist."""

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        """Give ``amount_minor`` of a charge back. Rejected: never of this one. InDoubt: it may be on its way; any other refusal is InDoubt too."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        """Nothing is charged under ``do_key`` any more, and what was is refunded: the minor units given back now, 0 for none.

        Rejected: it is there, and is never refunded. Only where the card says ``tombstone``; elsewhere InDoubt.
        """

    def find(self, key: str) -> Charge | None:
        """The charge under ``key``; of several the first that is open, else the first. None: it is not there now; it may still land."""

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        """All charges, oldest first; with ``since`` (aware) those made at or after it. One call a page, each with a deadline of its own."""


class CarrierGateway(Protocol):
    """Every call is at most one effect per ``key``, as far as ``card`` says so.

    Raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors).
    """

    @property
    def card(self) -> Card:
        """What this carrier promises about keys and look-ups."""

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        """Book one label; ``parcels``: {sku, quantity} each. ``address`` has name, line1 and country; city, state and postal_code where the country has them.

        Rejected: the carrier does not go there. InDoubt: a label may exist.
        """

    def cancel(self, label_id: str, *, key: str) -> None:
        """Cancel a label; one that is cancelled already is fine. Rejected "handed_over": the parcel has left."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        """Nothing is booked under ``do_key`` any more, and what was is cancelled: the id of its label, None if there is none.

        Rejected "handed_over": the parcel has left. Only where the card says ``tombstone``; elsewhere InDoubt.
        """

    def find(self, key: str) -> Label | None:
        """The label under ``key``; of several the first that is open, else the first. None: it is not there now; it may still land."""

    def listing(self, since: datetime | None = None) -> Iterator[Label]:
        """All labels, oldest first; with ``since`` (aware) those booked at or after it. One call a page, each with a deadline of its own."""
