"""What the providers list, by order: streamed page by page, and kept as one small tuple for each charge and label."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import QuerySet

from fulfillment.errors import StepError
from fulfillment.gateways import Charge, Label, capabilities_of, carrier, chosen, payments, pinned
from fulfillment.models import Saga
from orders.database import readable
from orders.text import sanitized
from orders.turns import TurnLost

log = logging.getLogger(__name__)

PINNED = """
SELECT DISTINCT entry->>'role', entry->>'gateway'
FROM fulfillment_saga, jsonb_array_elements(CASE jsonb_typeof(plan) WHEN 'array' THEN plan ELSE '[]' END) AS entry
WHERE id = ANY(%s) AND entry->>'role' <> '' AND entry->>'gateway' <> ''
"""
AT_ONCE = 10_000  # plans
LONGEST = 80  # characters: what an incident's subject holds; our own numbers and keys are shorter

WATCH_EVERY = 200  # entries

Place = tuple[str, str]  # role, provider
Watch = Callable[[str, int, int | None], None]  # what is done, how many of it, of how many


class NotListed(Exception):
    """A provider's listing could not be read to its end, so nothing can be said of the orders that it serves.

    Has money or stock moved? Not by this run.
    What the operator does: looks whether the provider is down, then runs it again.
    """


class Charged(NamedTuple):
    """A charge as ``provider`` lists it, in ``currency``'s minor units. ``twice_minor``: given back beyond what was taken, and no part of ``refunded_minor``."""

    provider: str
    key: str
    amount_minor: int
    refunded_minor: int
    currency: str
    twice_minor: int = 0

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
    """Charges and labels by order number. Orders that were judged are dropped, so that what is left belongs to nobody.

    ``providers`` were read to their end; ``silent`` ones were not, each with a sentence that says why: nothing of them is kept.
    """

    def __init__(self) -> None:
        self.providers: set[Place] = set()
        self.silent: dict[Place, str] = {}
        self.entries = 0
        self._charges: dict[str, tuple[Charged, ...]] = {}
        self._labels: dict[str, tuple[Booked, ...]] = {}

    def add(self, provider: str, entry: Charge | Label) -> None:
        """Raises TypeError, ValueError: it is no list of charges, or of labels. That is this provider's trouble, and must not be met later."""
        number, key = (_words(text, LONGEST) for text in (entry.order_number or entry.key or entry.id, entry.key))
        if isinstance(entry, Charge):
            amount, refunded = _minor(entry.amount_minor), _minor(entry.refunded_minor)
            charged = Charged(provider, key, amount, min(refunded, amount), _words(entry.currency, 3), max(refunded - amount, 0))
            self._charges[number] = (*self._charges.get(number, ()), charged)
        else:
            self._labels[number] = (*self._labels.get(number, ()), Booked(provider, key, entry.is_open))
        self.entries += 1

    def take_in(self, place: Place, part: "Listings") -> None:
        """Everything that one provider lists."""
        self.providers.add(place)
        self.entries += part.entries
        for number, charges in part._charges.items():
            self._charges[number] = (*self._charges.get(number, ()), *charges)
        for number, labels in part._labels.items():
            self._labels[number] = (*self._labels.get(number, ()), *labels)

    def of(self, number: str) -> tuple[tuple[Charged, ...], tuple[Booked, ...]]:
        """What is listed for one order."""
        return self._charges.get(number, ()), self._labels.get(number, ())

    def entries_by_number(self) -> Iterator[tuple[str, tuple[Charged | Booked, ...]]]:
        """What was listed and not dropped."""
        for number in list(self._charges.keys() | self._labels.keys()):
            yield number, (*self._charges.get(number, ()), *self._labels.get(number, ()))

    def drop(self, numbers: Iterable[str]) -> None:
        for number in numbers:
            self._charges.pop(number, None)
            self._labels.pop(number, None)

    def charges(self) -> Iterator[tuple[str, tuple[Charged, ...]]]:
        """Of all orders not dropped, given back or not."""
        yield from self._charges.items()

    def open_numbers(self) -> list[str]:
        """Orders not dropped for which a provider still holds something."""
        money = {number for number, charges in self._charges.items() if any(charge.is_open for charge in charges)}
        parcels = {number for number, labels in self._labels.items() if any(label.is_open for label in labels)}
        return sorted(money | parcels)


def _words(text: str, longest: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return sanitized(text, longest)


def _minor(amount: int) -> int:
    if type(amount) is not int or amount < 0:
        raise ValueError(f"{amount!r} is no amount in minor units")
    return amount


def providers(sagas: QuerySet[Saga]) -> set[Place]:
    """Every provider that a plan of these sagas pins, and the chosen ones, in both roles; without those that were taken out of the code since."""
    found = {(role, chosen(role)) for role in ("payments", "carrier")}
    ids = list(sagas.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), AT_ONCE):
        found.update(readable(ids[start : start + AT_ONCE], _pinned))
    return {place for place in found if _is_written(*place)}


def _pinned(sagas: Sequence[int]) -> list[Place]:
    with connection.cursor() as cursor:
        cursor.execute(PINNED, [list(sagas)])
        return [(role, provider) for role, provider in cursor.fetchall() if role in ("payments", "carrier")]


def lag_s(places: Iterable[Place]) -> float:
    """Seconds after which whatever took place is listed everywhere."""
    return max((capabilities_of(*place).lookup_lag_s for place in places), default=0.0)


def read(places: Iterable[Place], since: datetime | None, watch: Watch) -> Listings:
    """All that these providers list. One that does not answer is noted as silent, and keeps nobody from reading the others."""
    listings = Listings()
    for place in sorted(places):
        try:
            listings.take_in(place, _read(place, since, watch))
        except StepError as silent:
            listings.silent[place] = str(silent)
        except TurnLost:
            raise
        except Exception as error:
            log.exception("The listing of %s %s broke", *place)
            listings.silent[place] = type(error).__name__
    return listings


def _read(place: Place, since: datetime | None, watch: Watch) -> Listings:
    role, provider = place
    part = Listings()
    with pinned(role, provider):
        for entry in payments().listing(since) if role == "payments" else carrier().listing(since):
            part.add(provider, entry)
            if part.entries % WATCH_EVERY == 0:
                watch(f"reading {role} of {provider}", part.entries, None)
    watch(f"reading {role} of {provider}", part.entries, None)
    return part


def _is_written(role: str, provider: str) -> bool:
    try:
        capabilities_of(role, provider)
    except ImproperlyConfigured:
        return False
    return True
