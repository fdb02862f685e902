"""Which orders a list shows, and in which sequence. Each filter has an index that ends in this sequence (``Order.Meta``), so a page is read and nothing is sorted.

The newest order comes first. Whoever asks for changes (``updated_from``, ``updated_before``) follows them: the oldest change comes first, because an order that
changes while the pages are read moves to their end, and is seen there again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from django.db.models import F, Q, QuerySet, Subquery
from django.db.models.expressions import OrderBy
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from orders.api import representation as shown
from orders.api.parameters import EXPAND, SEVERAL, Instant, Names, Paged
from orders.api.placing import composed
from orders.api.serializers import Email, Text
from orders.models import Order, Status

RANGES = ("placed", "updated")
GROUPS = "`open`: it may still move. `ended`: it does not. `failed`: it has ended, and was neither fulfilled nor cancelled."
SHOWN = f"What to show beside `number`, {SEVERAL}. Without it: `{'`, `'.join(shown.SUMMARY)}`."
FILTERS = {"status", "status_group", "reference", "customer_email", "sku", "failure_code"}  # each has an index of its own
COLUMNS = {"failure_code": "failure_code", "customer_email": "customer_email__iexact"}  # of filters with one value


class OrderQuery(Paged):
    """Every filter that is given must hold. An instant ``…_from`` is in its range, an instant ``…_before`` is not."""

    status = serializers.ChoiceField(Status.choices, required=False, help_text="Of this status.")
    status_group = serializers.ChoiceField(list(Status.groups()), required=False, help_text=GROUPS)
    reference = Text(required=False, max_length=80, help_text="Your own name for it, with its capitals.")
    customer_email = Email(required=False, max_length=254, help_text="Of the customer, in any case.")
    sku = Text(required=False, max_length=40, help_text="With a line of this product.")
    failure_code = Text(required=False, max_length=60, help_text="That failed for this reason, for example `card_declined`.")
    placed_from = Instant(required=False, help_text="Placed then or later.")
    placed_before = Instant(required=False, help_text="Placed earlier.")
    updated_from = Instant(required=False, help_text="Changed then or later.")
    updated_before = Instant(required=False, help_text="Changed earlier.")
    expand = Names(shown.EXPANDED_IN_LISTS, help_text=EXPAND)
    fields = Names(shown.FIELDS, help_text=SHOWN)  # type: ignore[assignment]  # declared fields do not become attributes

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A range in which nothing can be is a mistake."""
        both = [name for name in RANGES if {f"{name}_from", f"{name}_before"} <= attrs.keys()]
        if empty := [name for name in both if attrs[f"{name}_from"] >= attrs[f"{name}_before"]]:
            raise serializers.ValidationError({f"{name}_before": ErrorDetail("Must be later.", "empty_range") for name in empty})
        return attrs


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """By ``instant``, a column; then by the primary key, which only distinguishes orders of one instant.

    ``of_a_filter``: as the indexes of filters have it, and no other (see ``Order.Meta``). ``only``: what holds for each order that is read so.
    """

    instant: str
    ascending: bool = False
    of_a_filter: bool = False
    only: Q = field(default_factory=Q)

    @property
    def columns(self) -> tuple[OrderBy, OrderBy]:
        if self.ascending:
            return F(self.instant).asc(), F("pk").asc()
        return F(self.instant).desc(nulls_last=self.of_a_filter or None), F("pk").desc()

    def behind(self, client_id: int, position: list[str] | None) -> Q:
        """``position``: as ``position_of`` says it; None: the beginning."""
        if position is None:
            return Q()
        at, number = position
        beyond = "gt" if self.ascending else "lt"
        last = Subquery(Order.objects.filter(client_id=client_id, number=number).values("pk"))
        return Q(**{f"{self.instant}__{beyond}e": at}) & (Q(**{f"{self.instant}__{beyond}": at}) | Q(**{f"pk__{beyond}": last}))


def _follows_changes(asked: Mapping[str, Any]) -> bool:
    return "updated_from" in asked or "updated_before" in asked


def _placed_at(asked: Mapping[str, Any]) -> str:
    """Of the line where a product is asked for: its index has the lines of one product in the sequence of the pages."""
    return "lines__placed_at" if "sku" in asked and not _follows_changes(asked) else "placed_at"


def _shown_in(asked: Mapping[str, Any]) -> Sequence:
    return Sequence(instant="updated_at", ascending=True) if _follows_changes(asked) else Sequence(instant="placed_at")


def _read_in(asked: Mapping[str, Any]) -> Iterator[Sequence]:
    """Changes of orders that have ended stand in an index. Those that are open are few, and are sorted."""
    if _follows_changes(asked):
        yield Sequence(instant="settled_at", ascending=True)
        yield Sequence(instant="updated_at", ascending=True, only=Q(ended_as=""))
    else:
        yield Sequence(instant=_placed_at(asked), of_a_filter=bool(FILTERS & asked.keys()))


def position_of(order: Order, asked: Mapping[str, Any]) -> list[str]:
    instant = getattr(order, _shown_in(asked).instant)
    return [instant.isoformat(), order.number]


def page_of(orders: QuerySet[Order], client_id: int, asked: Mapping[str, Any], position: list[str] | None, count: int) -> QuerySet[Order]:
    """The first ``count`` of the client's ``orders`` behind ``position``.

    Their keys are read from the index alone, a page for each value that will do: with IN the index would not be in the sequence of the pages.
    """
    shown_in = _shown_in(asked)
    pages = [
        Order.objects.filter(_conditions(client_id, asked, read_in) & read_in.behind(client_id, position) & one)
        .order_by(*read_in.columns)
        .values("pk")[:count]
        for read_in in _read_in(asked)
        for one in _alternatives(asked)
    ]
    if not pages:
        return orders.none()
    keys: Any = pages[0].union(*pages[1:], all=True) if len(pages) > 1 else pages[0]
    return orders.filter(pk__in=keys).order_by(*shown_in.columns)[:count]


def _conditions(client_id: int, asked: Mapping[str, Any], read_in: Sequence) -> Q:
    """What holds for every order that is shown. In one Q: conditions on a line are then about one and the same line."""
    conditions = read_in.only & Q(client_id=client_id, **{column: asked[name] for name, column in COLUMNS.items() if name in asked})
    if "sku" in asked:
        conditions &= Q(lines__client_id=client_id, lines__sku=asked["sku"])
    for name, column in (("placed", _placed_at(asked)), ("updated", read_in.instant)):
        if f"{name}_from" in asked:
            conditions &= Q(**{f"{column}__gte": asked[f"{name}_from"]})
        if f"{name}_before" in asked:
            conditions &= Q(**{f"{column}__lt": asked[f"{name}_before"]})
    return conditions


def _alternatives(asked: Mapping[str, Any]) -> Iterator[Q]:
    """One of these holds for an order that is shown: filters that stand for several values of one column."""
    statuses: list[Q] = [status.condition for status in _statuses(asked)] if {"status", "status_group"} & asked.keys() else [Q()]
    references: list[Q] = [Q(reference=one) for one in sorted(composed(asked["reference"]))] if "reference" in asked else [Q()]
    return (status & reference for status, reference in product(statuses, references))


def _statuses(asked: Mapping[str, Any]) -> list[Status]:
    group = Status.groups()[asked["status_group"]] if "status_group" in asked else tuple(Status)
    return [status for status in group if asked.get("status", status) == status]
