"""What the providers list, by order: streamed page by page, and kept as one small tuple for each charge and label."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from fulfillment.errors import StepError
from fulfillment.gateways import Charge, Label, card_of, carrier, chosen, payments, pinned

PINNED = """
SELECT DISTINCT entry->>'role', entry->>'gateway' FROM fulfillment_saga, jsonb_array_elements(plan) AS entry
WHERE entry->>'role' <> '' AND entry->>'gateway' <> ''
"""

WATCH_EVERY = 200  # entries

Place = tuple[str, str]  # role, provider
Watch = Callable[[str, int, int | None], None]  # what is done, how many of it, of how many


class NotListed(Exception):
    """A provider's listing could not be read to its end: nothing was judged, no incident was opened or resolved.

    Has money or stock moved? Not by this run.
    What the operator does: looks whether the provider is down, then runs it again.
    """


class Charged(NamedTuple):
    """A charge as ``provider`` lists it, in ``currency``'s minor units."""

    provider: str
    key: str
    amount_minor: int
    refunded_minor: int
    currency: str

    @property
    def left_minor(self) -> int:
        return self.amount_minor - self.refunded_minor

    @property
    def is_open(self) -> bool:
        return self.left_minor > 0


class Booked(NamedTuple):
    """A label as ``provider`` lists it."""

    provider: str
    key: str
    is_open: bool


class Listings:
    """Charges and labels by order number. ``taken`` orders are forgotten, so that what is left belongs to nobody who was judged."""

    def __init__(self, providers: Iterable[Place] = ()) -> None:
        self.providers = frozenset(providers)
        self.entries = 0
        self._charges: dict[str, tuple[Charged, ...]] = {}
        self._labels: dict[str, tuple[Booked, ...]] = {}

    def add(self, provider: str, entry: Charge | Label) -> None:
        number, key = (_storable(text) for text in (entry.order_number or entry.key or entry.id, entry.key))
        if isinstance(entry, Charge):
            charged = Charged(provider, key, entry.amount_minor, entry.refunded_minor, entry.currency)
            self._charges[number] = (*self._charges.get(number, ()), charged)
        else:
            self._labels[number] = (*self._labels.get(number, ()), Booked(provider, key, entry.is_open))
        self.entries += 1

    def take(self, number: str) -> tuple[tuple[Charged, ...], tuple[Booked, ...]]:
        """What is listed for one order."""
        return self._charges.pop(number, ()), self._labels.pop(number, ())

    def open_numbers(self) -> list[str]:
        """Orders not taken for which a provider still holds something."""
        money = {number for number, charges in self._charges.items() if any(charge.is_open for charge in charges)}
        parcels = {number for number, labels in self._labels.items() if any(label.is_open for label in labels)}
        return sorted(money | parcels)


def _storable(text: str) -> str:
    """A database refuses this one character, and what a provider lists is not ours to choose."""
    return text.replace("\0", "")


def providers() -> set[Place]:
    """Every provider that any plan pins, and the chosen ones, in both roles; without those that were taken out of the code since."""
    with connection.cursor() as cursor:
        cursor.execute(PINNED)
        found = {(role, provider) for role, provider in cursor.fetchall() if role in ("payments", "carrier")}
    found |= {(role, chosen(role)) for role in ("payments", "carrier")}
    return {place for place in found if _is_written(*place)}


def lag_s(places: Iterable[Place]) -> float:
    """Seconds after which whatever took place is listed everywhere."""
    return max((card_of(*place).lookup_lag_s for place in places), default=0.0)


def read(places: Iterable[Place], since: datetime | None, watch: Watch) -> Listings:
    """All that these providers list. Raises NotListed: then what was read so far is worth nothing."""
    listings = Listings(places)
    for role, provider in sorted(listings.providers):
        try:
            with pinned(role, provider):
                _read(listings, role, provider, since, watch)
        except StepError as silent:
            raise NotListed(
                f'The {role} provider "{provider}" does not list what it holds: {silent} Nothing was judged; run it again.'
            ) from None
    return listings


def _read(listings: Listings, role: str, provider: str, since: datetime | None, watch: Watch) -> None:
    for entry in payments().listing(since) if role == "payments" else carrier().listing(since):
        listings.add(provider, entry)
        if listings.entries % WATCH_EVERY == 0:
            watch(f"reading {role} of {provider}", listings.entries, None)


def _is_written(role: str, provider: str) -> bool:
    try:
        card_of(role, provider)
    except ImproperlyConfigured:
        return False
    return True
