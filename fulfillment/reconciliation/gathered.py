"""Everything that is known of an order at rest, gathered for many orders at once: a fixed number of queries for each chunk."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from django.db.models import Sum

from fulfillment import engine
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Reservation, Saga, SagaState, StepRecord, StepState
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.listings import Booked, Charged, Listings
from fulfillment.reconciliation.side_effects_audit import SideEffectsAudit
from orders.models import Order
from orders.timeline import EntryKind, TimelineEntry

BY_HAND = (StepState.DONE_BY_HAND, StepState.COMPENSATED_BY_HAND, StepState.SKIPPED)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Money:
    """Our ledger of one order, in minor units. ``by_hand``: the part of ``refunded`` that was given back outside, perhaps not by the provider."""

    captured: int = 0
    refunded: int = 0
    by_hand: int = 0

    @property
    def left(self) -> int:
        """What the provider should still hold; money written off is still there."""
        return self.captured - self.refunded


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One order: its journal, our ledger, the last entries of its history, its stock, its facts, and what the providers list for it.

    ``is_pruned``: its history was removed. ``missing_deliveries``: for each recorded fact its type, and the subscribers that are owed it and have no delivery of
    it. They are none while the relay has not come to the fact.
    """

    saga: Saga
    charges: tuple[Charged, ...]
    labels: tuple[Booked, ...]
    money: Money
    history: Mapping[tuple[str, str], str]  # (kind, name) → the state in the last entry
    is_pruned: bool
    reservations: frozenset[str]
    missing_deliveries: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def order(self) -> Order:
        return self.saga.order

    @property
    def state(self) -> SagaState:
        return SagaState(self.saga.state)

    @property
    def is_completed(self) -> bool:
        return self.state is SagaState.COMPLETED

    @cached_property
    def records(self) -> list[StepRecord]:
        return list(self.saga.records.all())

    @cached_property
    def plans(self) -> dict[str, dict[str, Any]]:
        """The plan of each step."""
        return {record.name: engine.planned(self.saga, record.name) for record in self.records}

    @cached_property
    def _roles(self) -> dict[str, dict[tuple[str, str], StepRecord]]:
        roles: dict[str, dict[tuple[str, str], StepRecord]] = defaultdict(dict)
        for record in self.records:
            plan = self.plans[record.name]
            for key in engine.do_keys(record):
                roles[plan.get("role", "")][plan.get("gateway", ""), key] = record
        return roles

    def of_role(self, role: str) -> dict[tuple[str, str], StepRecord]:
        """(provider, do-key) → the step that the plan lets call a provider in this role; keys that were refused are its own too."""
        return self._roles.get(role, {})

    def is_by_hand(self, role: str) -> bool:
        """A person has said what became of such a step: the provider need not know of it."""
        return any(record.state in BY_HAND for record in self.of_role(role).values())

    def finding(self, rule: Rule, found: str, *, step: str = "", amount_minor: int = 0, currency: str = "") -> Finding:
        return Finding(
            subject=self.order.number,
            order_id=self.order.pk,
            rule=rule,
            found=found,
            step=step,
            amount_minor=amount_minor,
            currency=currency or self.order.currency,
        )


def gather(sagas: list[Saga], listings: Listings, audit: SideEffectsAudit) -> Iterator[Gathered]:
    """Seven queries, whatever the number of sagas. One of them is the side effects' own."""
    orders = [saga.order_id for saga in sagas]
    numbers = [saga.order.number for saga in sagas]
    money, history, held = _ledgers(orders), _histories(orders), _reservations(numbers)
    pruned = _pruned(sagas)  # after the histories: one that is removed between the two is known to be
    missing = audit.missing_deliveries(orders)
    for saga in sagas:
        charges, labels = listings.of(saga.order.number)
        yield Gathered(
            saga=saga,
            charges=charges,
            labels=labels,
            money=money.get(saga.order_id, Money()),
            history=dict(history.get(saga.order_id, ())),
            is_pruned=saga.pk in pruned,
            reservations=frozenset(held.get(saga.order.number, ())),
            missing_deliveries=tuple(missing.get(saga.order_id, ())),
        )


def _ledgers(orders: list[int]) -> dict[int, Money]:
    sums: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    rows = (
        LedgerEntry.objects.filter(order_id__in=orders)
        .order_by()
        .values_list("order_id", "operation", "by_hand")
        .annotate(Sum("amount_minor"))
    )
    for order_id, operation, by_hand, amount in rows:
        sums[order_id][operation] += amount
        if by_hand and operation == LedgerEntry.Operation.REFUNDED:
            sums[order_id]["by_hand"] += amount
    return {order_id: Money(captured=of["captured"], refunded=of["refunded"], by_hand=of["by_hand"]) for order_id, of in sums.items()}


def _histories(orders: list[int]) -> dict[int, list[tuple[tuple[str, str], str]]]:
    """Of each order the last entry about each step, the saga and the order."""
    entries = TimelineEntry.objects.filter(order_id__in=orders, kind__in=(EntryKind.STEP, EntryKind.SAGA, EntryKind.ORDER))
    last = entries.order_by("order_id", "kind", "name", "-id").distinct("order_id", "kind", "name")
    return _grouped(last.values_list("order_id", "kind", "name", "to_state"), lambda _, kind, name, state: ((kind, name), state))


def _pruned(sagas: list[Saga]) -> set[int]:
    found = Saga.objects.filter(pk__in=[saga.pk for saga in sagas], history_pruned_at__isnull=False)
    return set(found.values_list("pk", flat=True))


def _reservations(numbers: list[str]) -> dict[str, list[str]]:
    rows = Reservation.objects.filter(order_number__in=numbers).values_list("order_number", "state")
    return _grouped(rows, lambda _, state: str(state))


def _grouped(rows: Iterable[tuple[Any, ...]], value: Callable[..., Value]) -> dict[Any, list[Value]]:
    """By the first column."""
    groups: dict[Any, list[Value]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(value(*row))
    return groups
