"""Circuit breakers of subscribers that call outside. While a mail server is away, one delivery probes it now and then. The others wait and spend no try.

The rules are those of the circuits to the providers (docs/decisions/0017). Three different deliveries that fail without an answer between them open a circuit.
The deliveries take turns as its probe. The answer to a probe closes it, and those that waited go on, a few each second. No row: the circuit is closed, and
nothing has failed since the last answer.

The core has circuits of its own, which probe and wake sagas: core and side effects do not know each other.
"""

from collections.abc import Sequence

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from orders.clock import doubled, in_seconds, jittered, shop_now
from orders.durability import may_be_lost
from sideeffects.models import Circuit, Delivery, DeliveryState

DELIVERIES_THAT_OPEN = 3
WOKEN_PER_S = 20
BATCH = 1000

# In the order in which they began to wait. Their limit in time begins again, because the failures were not theirs.
WAKE = """
WITH next AS (
    SELECT id FROM sideeffects_delivery
    WHERE subscriber = %(name)s AND state IN ('pending', 'retry_wait') AND wake_at IS NOT NULL AND id > %(after)s
    ORDER BY id LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED
), placed AS (
    SELECT id, %(before)s + row_number() OVER (ORDER BY id) AS place FROM next
)
UPDATE sideeffects_delivery SET wake_at = shop_now() + make_interval(secs => placed.place / %(per_s)s::float), failing_since = NULL FROM placed
WHERE sideeffects_delivery.id = placed.id RETURNING sideeffects_delivery.id
"""


# --- whoever delivers -----------------------------------------------------------------------------------------------------


def failed(delivery: Delivery, error: str) -> bool:
    """A try has ended without an answer. True: the circuit is open now, so the delivery does not spend this try."""
    with transaction.atomic():
        may_be_lost()
        circuit = _locked(delivery.subscriber)
        if circuit.is_open:
            if circuit.probe == delivery.pk:
                circuit.failed_probes, circuit.last_error, circuit.probe_until = circuit.failed_probes + 1, error[:120], None
                _ask_later(circuit)
            return True
        circuit.last_error = error[:120]
        if delivery.pk not in circuit.failures:
            circuit.failures = [*circuit.failures, delivery.pk]
        if len(circuit.failures) < DELIVERIES_THAT_OPEN:
            circuit.save()
            return False
        circuit.opened_at, circuit.failed_probes, circuit.probe_until, circuit.wakes = shop_now(), 0, None, False
        _ask_later(circuit)
        return True


def answered(delivery: Delivery) -> None:
    """Earlier failures count no more. Only the answer to its probe closes an open circuit: another call may be older than the outage."""
    with transaction.atomic():
        may_be_lost()
        circuit = Circuit.objects.select_for_update().filter(pk=delivery.subscriber).first()
        if circuit is None or (circuit.is_open and circuit.probe != delivery.pk):
            return
        if circuit.is_open:
            _close(circuit)
        elif not circuit.wakes:
            circuit.delete()


def _locked(subscriber: str) -> Circuit:
    Circuit.objects.bulk_create([Circuit(subscriber=subscriber)], ignore_conflicts=True)
    return Circuit.objects.select_for_update().get(pk=subscriber)


def _ask_later(circuit: Circuit) -> None:
    """The wait for the next probe doubles, up to the longest back-off of a provider's probe."""
    circuit.save()
    wait_s = jittered(doubled(settings.BACKOFF_S, circuit.failed_probes, settings.BACKOFF_CAP_S))
    Circuit.objects.filter(pk=circuit.pk).update(next_probe_at=in_seconds(wait_s))


def _close(circuit: Circuit) -> None:
    circuit.opened_at, circuit.failures, circuit.probe_until, circuit.next_probe_at, circuit.wakes = None, [], None, None, True
    circuit.save()


# --- the relay ------------------------------------------------------------------------------------------------------------


def not_closed() -> "QuerySet[Circuit]":
    """Circuits that are open, or whose deliveries were not woken yet. The deliveries of these subscribers are not published as usual."""
    return Circuit.objects.exclude(opened_at=None, wakes=False)


def send_ahead(subscriber: str) -> Delivery | None:
    """The next probe of an open circuit, in rotation, if one is due. It is to be published now. If no delivery is left to probe with, the circuit is closed."""
    with transaction.atomic():
        may_be_lost()
        circuit = _locked(subscriber)
        if not _wants_a_probe(circuit):
            return None
        waiting = Delivery.objects.filter(subscriber=subscriber, state__in=(DeliveryState.PENDING, DeliveryState.RETRY_WAIT))
        ready = waiting.filter(wake_at__isnull=False).order_by("id")
        ready = ready.select_for_update(of=("self",), no_key=True, skip_locked=True)
        chosen = ready.filter(pk__gt=circuit.probe or 0).first() or ready.first()
        if chosen is None:
            if not waiting.exists():
                _close(circuit)
            return None
        circuit.probe = chosen.pk
        circuit.save()
        Circuit.objects.filter(pk=subscriber).update(probe_until=in_seconds(settings.PATIENCE_CAP_S))
        return chosen


def _wants_a_probe(circuit: Circuit) -> bool:
    now = shop_now()
    is_under_way = circuit.probe_until is not None and now < circuit.probe_until
    return circuit.is_open and circuit.next_probe_at is not None and circuit.next_probe_at <= now and not is_under_way


def wake_those_who_wait(subscriber: str) -> None:
    """Wake the deliveries that waited for this circuit, a few each second. It is done once."""
    after, woken = 0, 0
    while batch := _wake(subscriber, after, woken):
        after, woken = max(batch), woken + len(batch)
    with transaction.atomic():
        may_be_lost()
        Circuit.objects.filter(pk=subscriber, opened_at=None, failures=[]).delete()
        Circuit.objects.filter(pk=subscriber, opened_at=None).update(wakes=False)


def _wake(subscriber: str, after: int, before: int) -> Sequence[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        may_be_lost()
        cursor.execute(WAKE, {"name": subscriber, "after": after, "before": before, "batch": BATCH, "per_s": WOKEN_PER_S})
        return [pk for (pk,) in cursor.fetchall()]


def waiting(subscriber: str) -> int:
    return Delivery.objects.filter(subscriber=subscriber, state=DeliveryState.RETRY_WAIT).exclude(wake_at=None, launched_at=None).count()
