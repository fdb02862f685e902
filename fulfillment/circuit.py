"""Circuit breakers: one for each provider and operation. While one is open, its operation is not called, and orders that need it wait without spending anything.

Three different orders open it, if they fail without a success between them. So a single poisonous order cannot. One is enough while another circuit is open: what
has cut us off from one provider may have cut us off from the next. While it is open, one order at a time is the probe. A probe that is answered closes it.
The rows are read without a lock on the fast path. They are written after a failure, by a probe, and by a person. Locks: the saga's row first, then the circuit's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import pgtrigger
from django.db import connection, models

from fulfillment.clock import ShopNow, backoff_s, furthest_s, in_seconds, shop_now

ORDERS_THAT_OPEN = 3
DO, COMPENSATE = "do", "compensate"


class CircuitState(models.TextChoices):
    CLOSED = "closed", "Closed"
    OPEN = "open", "Open"
    HALF_OPEN = "half_open", "Half open: a probe is under way"


class Circuit(models.Model):
    """One circuit, named ``role.gateway.do`` or ``role.gateway.compensate``. No row: it is closed, and nothing has failed yet.

    ``failures``: the orders that have failed since its last success, each once, counted while it is closed. ``probe``: the saga that was chosen last. It may call
    until ``probe_until``; empty: no saga may. ``failed_probes``: how many have failed since it opened. ``held_by``: the person who keeps it open; ``reason``: why.
    ``wakes``: it has closed, and the sagas that wait have not been made due yet.
    """

    name = models.CharField(max_length=120, primary_key=True)
    state = models.CharField(max_length=10, choices=CircuitState, default=CircuitState.CLOSED)
    failures = models.JSONField(default=list)
    last_error = models.CharField(max_length=120, blank=True)
    opened_at = models.DateTimeField(null=True)
    next_probe_at = models.DateTimeField(null=True)
    failed_probes = models.PositiveIntegerField(default=0)
    probe = models.BigIntegerField(null=True)
    probe_until = models.DateTimeField(null=True)
    held_by = models.CharField(max_length=80, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    wakes = models.BooleanField(default=False)

    class Meta:
        permissions: ClassVar = [("hold_circuit", "Can hold a circuit open"), ("release_circuit", "Can release a circuit")]

    def __str__(self) -> str:
        return f"circuit {self.name} ({self.state})"

    @property
    def is_open(self) -> bool:
        """Half open counts as open: only the probe may call."""
        return self.state != CircuitState.CLOSED

    @property
    def is_compensation(self) -> bool:
        return self.name.endswith(f".{COMPENSATE}")

    @property
    def provider(self) -> str:
        role, gateway, _ = self.name.rsplit(".", 2)
        return f"{role} ({gateway})"

    @property
    def sentence(self) -> str:
        """Since when it is open, and why. Without a full stop."""
        since = f"{self.opened_at:%Y-%m-%d %H:%M:%S} UTC" if self.opened_at else "a while ago"
        if self.held_by:
            what = f"Undos at {self.provider} are" if self.is_compensation else f"{self.provider.capitalize()} is"
            return f"{what} held back by {self.held_by} since {since}" + (f" ({self.reason})" if self.reason else "")
        error = f" ({self.last_error.rstrip('.')})" if self.last_error else ""
        if self.is_compensation:
            return f"{self.provider.capitalize()} has not answered an undo since {since}{error}"
        return f"{self.provider.capitalize()} has not answered since {since}{error}"

    def may_call(self, saga_id: int, now: datetime) -> bool:
        """Whether this saga is the probe, and may still call."""
        return self.probe == saga_id and self.probe_is_under_way(now)

    def probe_is_under_way(self, now: datetime) -> bool:
        return self.probe_until is not None and now < self.probe_until < now + timedelta(seconds=furthest_s())

    def wants_a_probe(self, now: datetime) -> bool:
        """It is open, nobody holds it, and it is time. An instant further away than any rule says was written by a clock that was ahead."""
        if not self.is_open or self.held_by or self.next_probe_at is None or self.probe_is_under_way(now):
            return False
        return not now < self.next_probe_at < now + timedelta(seconds=furthest_s())

    def save_with_entry(self, to: CircuitState, actor: str = "", reason: str = "") -> None:
        self.state = to
        self.save()
        CircuitEntry.objects.create(circuit=self.name, to_state=to, actor=actor, reason=reason[:300])


class CircuitEntry(models.Model):
    """The history of the circuits: each was opened, closed, held or released, by whom and why. Append-only."""

    circuit = models.CharField(max_length=120)
    at = models.DateTimeField(db_default=ShopNow())
    to_state = models.CharField(max_length=10, choices=CircuitState)
    actor = models.CharField(max_length=80, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "circuit entries"
        triggers: ClassVar = [pgtrigger.Protect(name="circuit_append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.circuit} {self.to_state}"


def name_of(role: str, gateway: str, compensating: bool) -> str:
    """The name of a circuit. Empty: the step calls no provider, and has no circuit."""
    return f"{role}.{gateway}.{COMPENSATE if compensating else DO}" if role and gateway else ""


def find_open(name: str) -> Circuit | None:
    """The circuit, if it is open. It stays open until the caller's transaction ends (FOR SHARE), so whoever begins to wait now is made due when it closes."""
    if not name:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM fulfillment_circuit WHERE name = %s AND state <> 'closed' FOR SHARE", [name])
        if cursor.fetchone() is None:
            return None
    return Circuit.objects.get(pk=name)


def locked(name: str) -> Circuit:
    found = Circuit.objects.select_for_update().filter(pk=name).first()
    if found is None:
        Circuit.objects.bulk_create([Circuit(name=name)], ignore_conflicts=True)
        found = Circuit.objects.select_for_update().get(pk=name)
    return found


@dataclass(frozen=True)
class Failed:
    """What a failed try means. ``circuit``: it is open now; None: it is not.

    ``spends``: the try counts for the order's budget, because the circuit was closed, or because the probe has failed by our own fault.
    """

    spends: bool
    circuit: Circuit | None


def failed(name: str, order: str, saga_id: int, error: str, counts: bool) -> Failed:
    """A try has ended without an answer. ``counts``: the provider is the cause."""
    if not name or not (counts or Circuit.objects.filter(pk=name).exclude(state=CircuitState.CLOSED).exists()):
        return Failed(spends=True, circuit=None)
    circuit = locked(name)
    if circuit.is_open:
        if circuit.probe == saga_id:
            _probe_failed(circuit, error, counts)
        return Failed(spends=circuit.probe == saga_id and not counts, circuit=circuit)
    if order not in circuit.failures:
        circuit.failures = [*circuit.failures, order]
    circuit.last_error = error[:120]
    if len(circuit.failures) < _needed(name):
        circuit.save()
        return Failed(spends=True, circuit=None)
    circuit.opened_at, circuit.next_probe_at = shop_now(), None
    circuit.failed_probes, circuit.probe_until, circuit.wakes = 0, None, False
    circuit.save_with_entry(CircuitState.OPEN, reason=f"{', '.join(circuit.failures)}: {error}")
    _next_probe(circuit)
    return Failed(spends=True, circuit=circuit)


def _needed(name: str) -> int:
    others = Circuit.objects.exclude(pk=name).exclude(state=CircuitState.CLOSED).filter(held_by="")
    return 1 if others.exists() else ORDERS_THAT_OPEN


def _probe_failed(circuit: Circuit, error: str, counts: bool) -> None:
    """The circuit stays open. Our own trouble proves nothing about the provider: another order is the probe at once."""
    circuit.probe_until, circuit.state = None, CircuitState.OPEN
    if counts:
        circuit.failed_probes += 1
        circuit.last_error = error[:120]
    circuit.save()
    _next_probe(circuit)


def _next_probe(circuit: Circuit) -> None:
    """The wait for the next probe grows, up to the longest back-off."""
    Circuit.objects.filter(pk=circuit.pk).update(next_probe_at=in_seconds(backoff_s(circuit.failed_probes + 1)))


def answered(name: str, saga_id: int) -> bool:
    """The provider has given an answer: earlier failures count no more. True: this was the probe, and the circuit is closed now."""
    circuit = locked(name)
    if not circuit.is_open:
        if circuit.failures:
            circuit.failures = []
            circuit.save()
        return False
    if circuit.probe != saga_id or circuit.held_by:
        return False
    close(circuit, reason="it has answered")
    return True


def close(circuit: Circuit, actor: str = "", reason: str = "") -> None:
    """A locked circuit is closed. The sweep makes those due that wait."""
    circuit.failures, circuit.probe_until, circuit.next_probe_at = [], None, None
    circuit.held_by, circuit.reason, circuit.wakes = "", "", True
    circuit.save_with_entry(CircuitState.CLOSED, actor, reason)


def hold_open(circuit: Circuit, actor: str, reason: str) -> None:
    """A locked circuit is open until a person releases it. No order is sent ahead as a probe."""
    if not circuit.is_open:
        circuit.opened_at, circuit.failed_probes, circuit.failures = shop_now(), 0, []
    circuit.probe_until, circuit.next_probe_at, circuit.wakes = None, None, False
    circuit.held_by, circuit.reason = actor, reason[:300]
    circuit.save_with_entry(CircuitState.OPEN, actor, reason)


def choose_probe(circuit: Circuit, saga_id: int, seconds: float) -> None:
    """Of a locked circuit that is open: this saga may call once, within ``seconds``."""
    circuit.probe, circuit.state = saga_id, CircuitState.HALF_OPEN
    circuit.save()
    Circuit.objects.filter(pk=circuit.pk).update(probe_until=in_seconds(seconds))
