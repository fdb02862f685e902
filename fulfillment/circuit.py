"""Circuit breakers: one for each provider and operation. While one is open its operation is not called, and whoever needs it waits without spending anything.

Three different orders open it, without a success between them, so that a single poisonous order cannot; one is enough while another circuit is open, because what
has taken one provider from us may well have taken the next. While it is open, one order at a time is the probe; its success closes the circuit.
The rows are read without a lock on the fast path, and written after a failure, by a probe, and by a person. Locks: the saga's row first, then the circuit's.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import pgtrigger
from django.db import connection, models

from fulfillment.clock import ShopNow, backoff_s, in_seconds, shop_now

ORDERS_THAT_OPEN = 3
DO, UNDO = "do", "undo"


class CircuitState(models.TextChoices):
    CLOSED = "closed", "Closed"
    OPEN = "open", "Open"
    HALF_OPEN = "half_open", "Half open: a probe is under way"


class Circuit(models.Model):
    """Named ``role.gateway.do`` or ``role.gateway.undo``. No row: closed, and nothing has failed yet.

    ``failures``: the orders that have failed since its last success, each once; counted while it is closed. ``probe``: the saga that was chosen last; it may call
    until ``probe_until``; empty: nobody may. ``probes``: how many have failed since it opened. ``held_by``: the person who keeps it open, ``reason`` why.
    ``wakes``: it has closed, and those who wait have not been woken yet.
    """

    name = models.CharField(max_length=120, primary_key=True)
    state = models.CharField(max_length=10, choices=CircuitState, default=CircuitState.CLOSED)
    failures = models.JSONField(default=list)
    last_error = models.CharField(max_length=120, blank=True)
    opened_at = models.DateTimeField(null=True)
    next_probe_at = models.DateTimeField(null=True)
    probes = models.PositiveIntegerField(default=0)
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
        """Half open is open for everybody but the probe."""
        return self.state != CircuitState.CLOSED

    @property
    def is_undo(self) -> bool:
        return self.name.endswith(f".{UNDO}")

    @property
    def provider(self) -> str:
        role, gateway, _ = self.name.rsplit(".", 2)
        return f"{role} ({gateway})"

    @property
    def sentence(self) -> str:
        """Since when, and why; without its end."""
        since = f"{self.opened_at:%Y-%m-%d %H:%M:%S} UTC" if self.opened_at else "a while ago"
        if self.held_by:
            what = f"Undos at {self.provider} are" if self.is_undo else f"{self.provider.capitalize()} is"
            return f"{what} held back by {self.held_by} since {since}" + (f" ({self.reason})" if self.reason else "")
        told = f" ({self.last_error.rstrip('.')})" if self.last_error else ""
        if self.is_undo:
            return f"{self.provider.capitalize()} has not answered an undo since {since}{told}"
        return f"{self.provider.capitalize()} has not answered since {since}{told}"

    def lets(self, saga_id: int, now: datetime) -> bool:
        """Whether this saga is the probe, and still may call."""
        return self.probe == saga_id and self.probe_until is not None and now < self.probe_until

    def save_and_tell(self, to: CircuitState, actor: str = "", reason: str = "") -> None:
        self.state = to
        self.save()
        CircuitEntry.objects.create(circuit=self.name, to_state=to, actor=actor, reason=reason[:300])


class CircuitEntry(models.Model):
    """The history of the circuits: opened, closed, held or released by whom, and why. Append-only."""

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


def name_of(role: str, gateway: str, undo: bool) -> str:
    """Empty for a step that talks to nobody in particular: it has no circuit."""
    return f"{role}.{gateway}.{UNDO if undo else DO}" if role and gateway else ""


def open_one(name: str) -> Circuit | None:
    """The circuit, if it is open, and stays so until the caller's transaction ends (FOR SHARE): who begins to wait now is woken when it closes."""
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
    """``spends``: the circuit was closed, so this try counts against the order. ``circuit``: the open one, if it is open now."""

    spends: bool
    circuit: Circuit | None


def failed(name: str, order: str, saga_id: int, error: str, counts: bool) -> Failed:
    """A try has ended without an answer. ``counts``: that was the provider's doing."""
    if not name or not (counts or Circuit.objects.filter(pk=name).exclude(state=CircuitState.CLOSED).exists()):
        return Failed(spends=True, circuit=None)
    circuit = locked(name)
    if circuit.is_open:
        if circuit.probe == saga_id:
            _probe_failed(circuit, error, counts)
        return Failed(spends=False, circuit=circuit)
    if order not in circuit.failures:
        circuit.failures = [*circuit.failures, order]
    circuit.last_error = error[:120]
    if len(circuit.failures) < _needed(name):
        circuit.save()
        return Failed(spends=True, circuit=None)
    circuit.opened_at, circuit.next_probe_at = shop_now(), None
    circuit.probes, circuit.probe_until, circuit.wakes = 0, None, False
    circuit.save_and_tell(CircuitState.OPEN, reason=f"{', '.join(circuit.failures)}: {error}")
    _next_probe(circuit)
    return Failed(spends=True, circuit=circuit)


def _needed(name: str) -> int:
    others = Circuit.objects.exclude(pk=name).exclude(state=CircuitState.CLOSED).filter(held_by="")
    return 1 if others.exists() else ORDERS_THAT_OPEN


def _probe_failed(circuit: Circuit, error: str, counts: bool) -> None:
    """Our own trouble proves nothing: another order is asked at once."""
    circuit.probe_until, circuit.state = None, CircuitState.OPEN
    if counts:
        circuit.probes += 1
        circuit.last_error = error[:120]
    circuit.save()
    _next_probe(circuit)


def _next_probe(circuit: Circuit) -> None:
    """Later and later, up to the longest back-off."""
    Circuit.objects.filter(pk=circuit.pk).update(next_probe_at=in_seconds(backoff_s(circuit.probes + 1)))


def answered(name: str, saga_id: int) -> bool:
    """The provider has given an answer: what has failed before counts no more. True: that was the probe, and the circuit is closed now."""
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
    """A locked circuit: closed, and whoever waits is to be woken."""
    circuit.failures, circuit.probe_until, circuit.next_probe_at = [], None, None
    circuit.held_by, circuit.reason, circuit.wakes = "", "", True
    circuit.save_and_tell(CircuitState.CLOSED, actor, reason)


def hold_open(circuit: Circuit, actor: str, reason: str) -> None:
    """A locked circuit: open until a person releases it. Nobody probes it."""
    if not circuit.is_open:
        circuit.opened_at, circuit.probes, circuit.failures = shop_now(), 0, []
    circuit.probe_until, circuit.next_probe_at, circuit.wakes = None, None, False
    circuit.held_by, circuit.reason = actor, reason[:300]
    circuit.save_and_tell(CircuitState.OPEN, actor, reason)


def choose_probe(circuit: Circuit, saga_id: int, seconds: float) -> None:
    """A locked circuit that is open: this saga may call, once, until then."""
    circuit.probe, circuit.state = saga_id, CircuitState.HALF_OPEN
    circuit.save()
    Circuit.objects.filter(pk=circuit.pk).update(probe_until=in_seconds(seconds))
