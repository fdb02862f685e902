"""Did it hold? One order against docs/semantics.md, "Invariants": its rows, and what the provider itself says it did."""

from collections.abc import Callable, Collection, Iterator

from django.db.models import Prefetch

from fulfillment import engine
from fulfillment.models import Saga, SagaState, StepState
from fulfillment.provider_call import with_provider_of
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import gather
from fulfillment.reconciliation.listings import NotListed, providers, read
from fulfillment.reconciliation.orders_at_rest import findings_about
from fulfillment.reconciliation.scope import MARGIN
from orders.incidents import unresolved
from orders.models import Order, Status
from orders.timeline import EntryKind, TimelineEntry
from sideeffects import subscriber_audits
from tests.proofs.crash_matrix.script import INCIDENT

WHILE_OPEN = (Rule.ONE_EFFECT_PER_KEY, Rule.HISTORY_REBUILDS_THE_JOURNAL)  # what holds also before an order is closed

# docs/semantics.md, "Step record", as far as no operator takes part, but for a retry: whoever moves a step otherwise was not fenced
MOVES = {
    "pending": {"scheduled", "not_needed"},
    "scheduled": {"scheduled", "pending", "started", "succeeded", "rejected", "retry_wait", "compensation_pending", "not_needed"},
    "started": {"succeeded", "rejected", "retry_wait", "in_doubt", "scheduled", "compensation_pending", "not_needed"},
    "retry_wait": {"scheduled", "compensation_pending", "not_needed"},
    "in_doubt": {"scheduled", "compensation_pending", "not_needed"},
    "succeeded": {"compensation_pending"},
    "rejected": {"compensation_pending", "not_needed"},
    "compensation_pending": {"compensation_scheduled", "not_needed"},
    "compensation_scheduled": {
        "compensation_scheduled",
        "compensation_started",
        "compensated",
        "compensation_retry_wait",
        "compensation_failed",
    },
    "compensation_started": {
        "compensated",
        "compensation_retry_wait",
        "compensation_in_doubt",
        "compensation_failed",
        "compensation_scheduled",
    },
    "compensation_retry_wait": {"compensation_scheduled", "compensation_failed"},
    "compensation_in_doubt": {"compensation_scheduled", "compensation_failed"},
    "compensation_failed": {"compensation_scheduled"},
}


def breaches(number: str, ends: Collection[str]) -> list[str]:
    """What is wrong with this order, which is at rest and should have ended as one of ``ends``; empty: nothing."""
    history = Prefetch("timeline", TimelineEntry.objects.order_by("id"))
    order = Order.objects.select_related("saga__order").prefetch_related("lines", "saga__records", history).get(number=number)
    found = [f"{finding.rule}: {finding.found}" for finding in _as_reconciled(order)]
    found += [f"{rule.__name__.lstrip('_')}: {wrong}" for rule in RULES for wrong in rule(order)]
    ended = ended_as(order)
    return found if ended in ends else [f"ended as {ended}, not as {' or '.join(sorted(ends))}", *found]


def ended_as(order: Order) -> str:
    """The order's final status, or that a person has an incident."""
    return INCIDENT if order.saga.state == SagaState.NEEDS_ATTENTION and unresolved(order_id=order.pk).exists() else str(order.status)


def _as_reconciled(order: Order) -> list[Finding]:
    """What ``manage.py reconcile`` would say of it, providers' listings included; before it is closed, only what holds then too. Raises NotListed."""
    listings = read(providers(Saga.objects.filter(order=order)), order.placed_at - MARGIN, lambda *_: None)
    if listings.silent:
        raise NotListed(", ".join(f"{role} {provider}: {why}" for (role, provider), why in listings.silent.items()))
    (gathered,) = gather([order.saga], listings, subscriber_audits)
    found = findings_about(gathered)
    return found if SagaState(order.saga.state).is_final else [finding for finding in found if finding.rule in WHILE_OPEN]


def _what_is_left_agrees(order: Order) -> Iterator[str]:
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


def _closed_or_a_person_knows(order: Order) -> Iterator[str]:
    """Nothing waits for a person without an incident, and nothing rests that still has something to do."""
    state = SagaState(order.saga.state)
    if not state.is_final and not unresolved(order_id=order.pk).exists():
        yield f"the saga is {state}, and no incident is open"
    if order.saga.wake_at is not None:
        yield "at rest, yet it is to be woken"


def _what_blocks_is_waited_for(order: Order) -> Iterator[str]:
    """Nobody is refunded while the parcel may still leave: before a failed compensation that blocks, nothing is compensated."""
    compensated: list[str] = []
    for record in order.saga.records.all():
        if (
            record.state == StepState.COMPENSATION_FAILED
            and engine.planned(order.saga, record.name).get("compensation_blocks")
            and compensated
        ):
            yield f"{', '.join(compensated)} was compensated, though the compensation of {record.name} has failed"
        if record.state == StepState.COMPENSATED:
            compensated.append(record.name)


def _moves_are_legal(order: Order) -> Iterator[str]:
    """Every move is one of docs/semantics.md, and after the saga was closed no step moves any more."""
    closed = False
    for entry in order.timeline.all():
        if entry.kind == EntryKind.STEP and (closed or entry.to_state not in MOVES.get(entry.from_state, ())):
            yield f"{entry.name}: {entry.from_state} → {entry.to_state}{' after the saga was closed' if closed else ''}"
        closed = closed or (entry.kind == EntryKind.SAGA and SagaState(entry.to_state).is_final)


RULES: tuple[Callable[[Order], Iterator[str]], ...] = (
    _what_is_left_agrees,
    _closed_or_a_person_knows,
    _moves_are_legal,
    _what_blocks_is_waited_for,
)
