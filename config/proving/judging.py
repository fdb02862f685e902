"""Did it hold? One order against docs/semantics.md, "Invariants": its rows, and what the provider itself says it did."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import httpx
from django.conf import settings
from django.db.models import Prefetch

from config import invariants
from config.proving.story import TOLD
from fulfillment import engine
from fulfillment.gateways import SANDBOXES, gateway
from fulfillment.models import Saga, SagaState, StepState
from fulfillment.talk import with_provider_of
from orders.attention import open_incidents
from orders.models import Order, Status
from orders.timeline import Kind, TimelineEntry

WHILE_OPEN = ("one_effect_per_key", "history_rebuilds_the_journal")  # what holds also before an order is closed

# docs/semantics.md, "Step record", as far as no operator takes part: whoever moves a step otherwise was not fenced
MOVES = {
    "pending": {"granted", "not_needed"},
    "granted": {"started", "succeeded", "rejected", "retry_wait", "undo_pending", "not_needed"},
    "started": {"succeeded", "rejected", "retry_wait", "in_doubt", "granted", "undo_pending", "not_needed"},
    "retry_wait": {"granted", "undo_pending", "not_needed"},
    "in_doubt": {"granted", "undo_pending", "not_needed"},
    "succeeded": {"undo_pending"},
    "rejected": {"undo_pending", "not_needed"},
    "undo_pending": {"undo_granted", "not_needed"},
    "undo_granted": {"undo_started", "undone", "undo_retry_wait", "undo_failed"},
    "undo_started": {"undone", "undo_retry_wait", "undo_in_doubt", "undo_failed", "undo_granted"},
    "undo_retry_wait": {"undo_granted", "undo_failed"},
    "undo_in_doubt": {"undo_granted", "undo_failed"},
}

Effects = list[dict[str, Any]]


def breaches(number: str, ends: Collection[str]) -> list[str]:
    """What is wrong with this order, which is at rest and should have ended as one of ``ends``; empty: nothing. Raises httpx.HTTPError."""
    history = Prefetch("timeline", TimelineEntry.objects.order_by("id"))
    order = Order.objects.select_related("saga").prefetch_related("lines", "saga__records", history).get(number=number)
    effects = effects_of(order)
    found = [f"{name}: {wrong}" for name, rule in _rules(order) for wrong in rule(order, effects)]
    ended = ended_as(order)
    return found if ended in ends else [f"ended as {ended}, not as {' or '.join(sorted(ends))}", *found]


def ended_as(order: Order) -> str:
    """The order's final status, or that a person is told."""
    return TOLD if order.saga.state == SagaState.NEEDS_ATTENTION and open_incidents(order.pk) else str(order.status)


def effects_of(order: Order) -> Effects:
    """What the providers did for this order: from the sandbox's own ledger; of any other provider, from its list."""
    entries = [entry for role, name in _providers(order) for entry in ([] if name in SANDBOXES else _listed(role, name, order))]
    answer = httpx.get(f"{settings.SANDBOX_URL}/ledger", params={"order": order.number}, timeout=30)
    return [*answer.raise_for_status().json(), *entries]


def _providers(order: Order) -> list[tuple[str, str]]:
    pinned = [engine.planned(order.saga, record.name) for record in order.saga.records.all()]
    return list(dict.fromkeys((entry["role"], entry["gateway"]) for entry in pinned if entry.get("role")))


def _listed(role: str, name: str, order: Order) -> Effects:
    """In the words of the sandbox's ledger."""
    with with_provider_of(role, name):
        mine = [thing for thing in gateway(role).listing(since=order.placed_at) if thing.order_number == order.number]  # type: ignore[call-overload]
    return [entry for thing in mine for entry in _entries(thing)]


def _entries(thing: Any) -> Effects:
    money = hasattr(thing, "amount_minor")
    done = {"operation": "charge" if money else "label", "key": thing.key, "amount": getattr(thing, "amount_minor", None)}
    if money:
        return [done] + ([{**done, "operation": "refund", "amount": thing.refunded_minor}] if thing.refunded_minor else [])
    return [done] + ([{**done, "operation": "cancel_label"}] if thing.cancelled else [])


def _rules(order: Order) -> Iterator[tuple[str, Callable[[Order, Effects], Iterator[str]]]]:
    for rule in invariants.ORDER_RULES:
        name = rule.__name__.lstrip("_")
        if SagaState(order.saga.state).is_final or name in WHILE_OPEN:
            yield name, rule
    yield "what_is_left_agrees", _what_is_left_agrees
    yield "told_or_closed", _told_or_closed
    yield "moves_are_legal", _moves_are_legal
    yield "what_blocks_is_waited_for", _what_blocks_is_waited_for


def _what_is_left_agrees(order: Order, effects: Effects) -> Iterator[str]:
    """Each step's own question, asked of its provider: an effect stands where the order is fulfilled, and is gone where it turned back."""
    saga: Saga = order.saga
    if not SagaState(saga.state).is_final:
        return
    for record in saga.records.all():
        step, entry = engine.step_of(saga, record.name), engine.planned(saga, record.name)
        if step is None or step.local:
            continue
        with with_provider_of(entry["role"], entry["gateway"]):
            left = step.left(order, record.do_key)
        if left is not None and bool(left) != (order.status == Status.FULFILLED):
            yield f"{record.name}: {left} left, and the order is {order.status}"


def _told_or_closed(order: Order, effects: Effects) -> Iterator[str]:
    """Nothing waits for a person who was not told, and nothing rests that still has something to do."""
    state = SagaState(order.saga.state)
    if not state.is_final and not open_incidents(order.pk):
        yield f"the saga is {state}, and nobody is told"
    if order.saga.wake_at is not None:
        yield "at rest, yet it is to be woken"


def _what_blocks_is_waited_for(order: Order, effects: Effects) -> Iterator[str]:
    """Nobody is refunded while the parcel may still leave: before a failed undo that blocks, nothing is undone."""
    undone: list[str] = []
    for record in order.saga.records.all():
        if record.state == StepState.UNDO_FAILED and engine.planned(order.saga, record.name).get("undo_blocks") and undone:
            yield f"{', '.join(undone)} was undone, though the undo of {record.name} has failed"
        if record.state == StepState.UNDONE:
            undone.append(record.name)


def _moves_are_legal(order: Order, effects: Effects) -> Iterator[str]:
    """Every move is one of docs/semantics.md, and after the saga was closed no step moves any more."""
    closed = False
    for entry in order.timeline.all():
        if entry.kind == Kind.STEP and (closed or entry.to_state not in MOVES.get(entry.from_state, ())):
            yield f"{entry.name}: {entry.from_state} → {entry.to_state}{' after the saga was closed' if closed else ''}"
        closed = closed or (entry.kind == Kind.SAGA and SagaState(entry.to_state).is_final)
