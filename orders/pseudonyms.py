"""Pseudonyms: a text keeps what the books need, and every word in it that identifies a customer is replaced.

*Marks* are a pattern of all such words: of the names, addresses and tokens of an order, as they may stand in a provider's answer or in a person's reason.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pgtrigger
from django.db.models import QuerySet

from orders.models import Order

FORGOTTEN = "forgotten"
KEPT_OF_ADDRESS = ("country", "state")  # taxes depend on them
SHORTEST_WORD = 3  # of a name: a shorter one is an initial, or a word of any sentence

Changes = Iterator[tuple[QuerySet[Any], dict[str, Any]]]  # one row, and what stands in it instead


def marks_of(order: Order) -> re.Pattern[str]:
    """Whatever identifies the customer of this order."""
    address = address_of(order)
    values = [value for name, value in address.items() if name not in KEPT_OF_ADDRESS and isinstance(value, str)]
    names = [order.customer_name, *([address["name"]] if isinstance(address.get("name"), str) else [])]
    words = [word for name in names for word in name.split() if len(word) >= SHORTEST_WORD]
    return any_of([order.customer_email, order.customer_name, order.payment_token, *values, *words])


def address_of(order: Order) -> dict[str, Any]:
    return order.shipping_address if isinstance(order.shipping_address, dict) else {}


def any_of(values: list[str]) -> re.Pattern[str]:
    known = sorted({value.strip() for value in values if value.strip()}, key=len, reverse=True)
    return re.compile("|".join(map(_alone, known)) or r"(?!)", re.IGNORECASE)


def _alone(value: str) -> str:
    """A value with letters is matched as a word. A number (a postal code, a house) must stand alone: only blanks, brackets and punctuation may be around it.

    Any other number is a part of an amount, a date or a reference.
    """
    if any(letter.isalpha() for letter in value):
        return rf"(?<!\w){re.escape(value)}(?!\w)"
    return rf"(?<![^\s(]){re.escape(value)}(?![^\s),;:.]|[,;:.]\S)"


def without(marks: re.Pattern[str], value: Any) -> Any:
    """The same JSON, with every mark in its texts replaced."""
    if isinstance(value, str):
        return marks.sub(FORGOTTEN, value)
    if isinstance(value, dict):
        return {name: without(marks, item) for name, item in value.items()}
    return [without(marks, item) for item in value] if isinstance(value, list) else value


def changed(rows: QuerySet[Any], marks: re.Pattern[str], *fields: str) -> Changes:
    """Each row in which a mark stands, with the changes that replace it."""
    for row in rows:
        said = {field: getattr(row, field) for field in fields}
        instead = {field: without(marks, value) for field, value in said.items()}
        if changes := {field: value for field, value in instead.items() if value != said[field]}:
            yield rows.filter(pk=row.pk), changes


def replace(about: Mapping[str, Changes], guards: Sequence[str], *, write: bool) -> Counter[str]:
    """How many rows of each kind name the customer. They are changed only with ``write``; the ``guards`` (triggers) are lifted for these statements alone."""
    with pgtrigger.ignore(*guards) if guards else nullcontext():  # without a name it would lift all of them
        return +Counter({what: _replace(rows, write=write) for what, rows in about.items()})


def _replace(rows: Changes, *, write: bool) -> int:
    count = 0
    for row, changes in rows:
        count += 1
        if write:
            row.update(**changes)
    return count
