"""A line of an order, as events carry it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line as sold; ``unit_price_minor`` in the order's currency."""

    sku: str
    quantity: int
    unit_price_minor: int


class _Sold(Protocol):
    sku: str
    quantity: int
    unit_price_minor: int


def lines_of(lines: Iterable[_Sold]) -> tuple[Line, ...]:
    return tuple(Line(sku=line.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor) for line in lines)
