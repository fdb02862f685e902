"""Open circuits: the sweep sends one order ahead as the probe, keeps the incident true, and wakes the others once the circuit is closed.

A person may hold a circuit open, or release it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from fulfillment import circuit as circuits
from fulfillment import engine
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.clock import shop_now
from fulfillment.code_release import RELEASE
from fulfillment.engine import Launch
from fulfillment.gateways import ROLES
from fulfillment.models import Quarantine, Saga
from fulfillment.recovery.containment import Due, contained
from fulfillment.recovery.requests import refuse_a_card_number
from fulfillment.recovery.sweep_memory import Memory
from orders import refusals
from orders.database import is_unusable, sqlstate, wait_for_locks
from orders.incidents import Incident, IncidentKind, resolve, unresolved
from orders.operators import Actor, Refused

log = logging.getLogger(__name__)

BRIEFLY_S = 0.1  # an incident that somebody holds is updated in a later round
CANDIDATES = 5  # for one probe: some may be locked
WOKEN_PER_S = 20  # a provider that has just come back is not met by everybody at once
BATCH = 1000

# Those who wait are due one after the other, oldest first. A saga that is at the provider right now, as the probe, keeps its lease.
WAKE = """
WITH next AS (
    SELECT id FROM fulfillment_saga AS s WHERE held_by = %(name)s AND id > %(after)s AND wake_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM fulfillment_steprecord AS r WHERE r.saga_id = s.id AND r.state IN ('started', 'compensation_started'))
    ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), placed AS (
    SELECT id, %(before)s + row_number() OVER (ORDER BY id) AS place FROM next
)
UPDATE fulfillment_saga SET wake_at = shop_now() + make_interval(secs => placed.place / %(per_s)s::float) FROM placed
WHERE fulfillment_saga.id = placed.id RETURNING fulfillment_saga.id
"""


def launch_probes(memory: Memory | None = None) -> Iterator[Launch]:
    """Inspect every circuit that is open, or has just closed. Yields the probes that are to be published. ``memory``: of this sweep's earlier rounds.

    The incident comes last, and alone: whoever holds its row must not keep an order from asking whether the provider is back.
    """
    memory = memory or Memory()
    for circuit in Circuit.objects.filter(Q(wakes=True) | ~Q(state=CircuitState.CLOSED) | Exists(_incidents_of(OuterRef("name")))):
        with _alone(circuit, memory):
            if circuit.is_open:
                yield from _send_ahead(circuit, memory)
            elif circuit.wakes:
                _wake_those_who_wait(circuit.name)
        with _alone(circuit, memory):
            _update_incident(circuit.name)


@contextmanager
def _alone(circuit: Circuit, memory: Memory) -> Iterator[None]:
    """Whatever goes wrong stays this circuit's trouble, and its traceback is logged once. Raises only what says that the database cannot work."""
    try:
        yield
    except Exception as error:
        if is_unusable(error):
            raise
        memory.contained += 1
        if memory.is_new((f"{circuit.name} {sqlstate(error) or type(error).__name__}", 0)):
            log.exception("Circuit %s could not be inspected; the next rounds try again, and are counted", circuit.name)


def _incidents_of(name: OuterRef | str) -> "QuerySet[Incident]":
    return unresolved(kind=IncidentKind.PROVIDER_DOWN, subject=name)


def _update_incident(name: str) -> None:
    """One incident while the circuit is open, and none once it has closed. The circuit is read anew, because a probe may have been answered meanwhile."""
    with transaction.atomic():
        wait_for_locks(BRIEFLY_S)
        if circuit := circuits.find_open(name):
            engine.open_circuit_incident(circuit)
        else:
            resolve(_incidents_of(name), "closed", "the circuit is closed", "")


def _send_ahead(circuit: Circuit, memory: Memory) -> Iterator[Launch]:
    if not circuit.wants_a_probe(shop_now()):
        return
    waiting = (
        Saga.objects.filter(~Exists(Quarantine.objects.filter(pk=OuterRef("pk"))), held_by=circuit.name, wake_at__isnull=False)
        .order_by("id")
        .values_list("id", flat=True)
    )
    ours = waiting.filter(release__lte=RELEASE)  # what newer code has opened is not ours to send ahead
    ahead = list(ours.filter(id__gt=circuit.probe or 0)[:CANDIDATES])
    candidates = ahead + list(ours.filter(id__lte=circuit.probe or 0)[: CANDIDATES - len(ahead)])
    if not candidates and not waiting.exists():
        _nobody_waits(circuit.name)
    for saga_id in candidates:
        launch = None
        with contained(Due(saga=saga_id, order=None), memory):  # an order on which nobody can work does not hold the circuit open
            launch = _probe(circuit.name, saga_id)
        if launch is not None:
            yield launch
            return


@engine.transition
def _probe(name: str, saga_id: int) -> Launch | None:
    saga = engine.locking(Saga.objects.filter(pk=saga_id, held_by=name), skip_locked=True).first()
    if saga is None or engine.is_newer(saga):
        return None
    circuit = circuits.locked(name)
    return engine.probe(saga, circuit) if circuit.wants_a_probe(shop_now()) else None


@engine.transition
def _nobody_waits(name: str) -> None:
    """There is nobody to send ahead. The circuit closes: whoever comes next may open it again."""
    circuit = circuits.locked(name)
    if circuit.wants_a_probe(shop_now()):
        circuits.close(circuit, reason="nobody waits for it")


def _wake_those_who_wait(name: str) -> None:
    """They are due a few each second. It is said once: to say it again would put them off again."""
    after, woken = 0, 0
    while batch := _wake(name, after, woken):
        after, woken = max(batch), woken + len(batch)
    with transaction.atomic():
        Circuit.objects.filter(pk=name, state=CircuitState.CLOSED).update(wakes=False)


@engine.transition
def _wake(name: str, after: int, before: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(WAKE, {"name": name, "after": after, "before": before, "batch": BATCH, "per_s": WOKEN_PER_S})
        return [saga_id for (saga_id,) in cursor.fetchall()]


# --- a person ------------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Every circuit that there may be."""
    return sorted(
        circuits.name_of(role, gateway, compensating)
        for role, one in ROLES.items()
        for gateway in one.providers
        for compensating in (False, True)
    )


def hold(name: str, actor: Actor, reason: str) -> str:
    """A person keeps a circuit open until somebody releases it. Returns a sentence. Raises Refused."""
    with refusals.recorded(actor, "hold", name):
        actor.must_have("fulfillment.hold_circuit", "hold a circuit")
        return _decide(name, actor, reason, is_hold=True)


def release(name: str, actor: Actor, reason: str) -> str:
    """A person closes an open circuit, whoever has opened it. The next failures open it again. Returns a sentence. Raises Refused."""
    with refusals.recorded(actor, "release", name):
        actor.must_have("fulfillment.release_circuit", "release a circuit")
        return _decide(name, actor, reason, is_hold=False)


@engine.transition
def _decide(name: str, actor: Actor, reason: str, *, is_hold: bool) -> str:
    if name not in names():
        raise Refused(f"There is no circuit {name!r}: choose one of {', '.join(names())}.")
    if not reason:
        raise Refused("Why? Name the reason.")
    refuse_a_card_number(reason)
    circuit = circuits.locked(name)
    if is_hold:
        circuits.hold_open(circuit, actor.name, reason)
        engine.open_circuit_incident(circuit)
        return f"{name} is held open. Orders that need it wait; nothing of them is spent."
    if not circuit.is_open:
        return f"{name} is closed. Nothing was done."
    circuits.close(circuit, actor.name, reason)
    return f"{name} is closed. Those who wait go on, {WOKEN_PER_S} a second at most."
