"""Ports: what the steps expect of any payment provider and of any carrier."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fulfillment.capabilities import Capabilities


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Money that was taken, in minor units. ``refunded_minor`` of it has been given back since. ``key``: the one under which it was asked for.

    ``currency``: in capital letters (ISO 4217), however the provider writes it.
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
        """Some of the money has not been given back."""
        return self.refunded_minor < self.amount_minor


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money that was given back, in minor units. ``currency`` empty: the provider does not say it, and it is that of the charge."""

    id: str
    charge_id: str
    amount_minor: int
    currency: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "currency", _in_capitals(self.currency))


def _in_capitals(currency: str) -> str:
    """A value that is no text stays as it is. It is refused where it is used."""
    return currency.upper() if isinstance(currency, str) and currency.isascii() else currency


@dataclass(frozen=True, kw_only=True)
class Label:
    """A parcel that was booked. ``tracking``: the customer's number. ``key``: the one under which it was asked for."""

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
    """Every call has at most one effect per ``key``, as far as the provider's capabilities say so.

    Raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors).
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this provider promises about keys and look-ups."""

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        """Take the money. Rejected: the card was declined. InDoubt: the charge may exist."""

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        """Give ``amount_minor`` of a charge back. Rejected: this charge is never refunded. InDoubt: it may be on its way. Any other refusal is InDoubt too."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        """Nothing can be charged under ``do_key`` any more, and what was charged is refunded. Returns the minor units given back now; 0: none.

        Rejected: a charge is there, and is never refunded. Without the capability ``tombstone``: InDoubt.
        """

    def find(self, key: str) -> Charge | None:
        """The charge under ``key``. Of several, the first that is open, else the first. None: none is there now; it may still land."""

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        """All charges, oldest first. With ``since`` (aware): those made at or after it. One call a page, each with a deadline of its own."""


class CarrierGateway(Protocol):
    """Every call has at most one effect per ``key``, as far as the provider's capabilities say so.

    Raises Rejected, Unavailable, InDoubt or Busy (see fulfillment.errors).
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this carrier promises about keys and look-ups."""

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        """Book one label. ``parcels``: {sku, quantity} each. ``address``: name, line1 and country; city, state and postal_code where the country has them.

        Rejected: the carrier does not go there. InDoubt: a label may exist.
        """

    def cancel(self, label_id: str, *, key: str) -> None:
        """Cancel a label. One that is cancelled already stays so. Rejected "handed_over": the parcel has left."""

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        """Nothing can be booked under ``do_key`` any more, and what was booked is cancelled. Returns the id of its label. None: there is none.

        Rejected "handed_over": the parcel has left. Without the capability ``tombstone``: InDoubt.
        """

    def find(self, key: str) -> Label | None:
        """The label under ``key``. Of several, the first that is open, else the first. None: none is there now; it may still land."""

    def listing(self, since: datetime | None = None) -> Iterator[Label]:
        """All labels, oldest first. With ``since`` (aware): those booked at or after it. One call a page, each with a deadline of its own."""
