"""Orders that this database has forgotten: a provider lists keys that we have issued, for orders newer than our newest.

Only a database that has lost its last commits finds such: it was restored from a backup, or a replica took over without them. What it issues next would meet
what it has forgotten, so no order is placed until a person has run ``manage.py recover --restored``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings

from fulfillment import keys
from fulfillment.keys import Issued
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.listings import Booked, Charged, Listings
from orders import numbers
from orders.money import money

SUBJECT = "orders"


@dataclass
class Forgotten:
    """``orders``: number → nonces. ``held_minor``: what is not given back, by currency."""

    orders: dict[str, set[str]] = field(default_factory=dict)
    charges: int = 0
    labels: int = 0
    held_minor: Counter[str] = field(default_factory=Counter)

    def add(self, issued: Issued, entry: Charged | Booked) -> None:
        self.orders.setdefault(issued.order, set()).add(issued.nonce)
        if isinstance(entry, Charged):
            self.charges += 1
            self.held_minor[entry.currency] += entry.left_minor
        else:
            self.labels += 1

    @property
    def sentence(self) -> str:
        held = " + ".join(money(minor, currency) for currency, minor in sorted(self.held_minor.items()) if minor) or "no money"
        first, last = min(self.orders, key=_place), max(self.orders, key=_place)
        which = first if first == last else f"{first} to {last}"
        return f"{self.charges} charges ({held} not given back) and {self.labels} labels of {len(self.orders)} orders, {which}, that nobody here has placed"


def find(listings: Listings) -> Forgotten:
    """What the providers list for orders newer than our newest, under keys that we have issued.

    Asked after the listings were read: an order is there before anything is done for it.
    """
    newest, found = numbers.surely_issued(), Forgotten()
    for number, entries in listings.entries_by_number():
        if _place(number) > newest:
            for entry in entries:
                issued = keys.issued(entry.key)
                if issued and issued.order == number:
                    found.add(issued, entry)
    return found


def findings(forgotten: Forgotten) -> Iterator[Finding]:
    if forgotten.orders:
        currency = settings.SHOP_CURRENCY
        held_minor = forgotten.held_minor[currency]
        yield Finding(subject=SUBJECT, rule=Rule.FORGOTTEN_ORDERS, found=forgotten.sentence, amount_minor=held_minor, currency=currency)


def _place(number: str) -> int:
    return numbers.place_of(number) or 0
