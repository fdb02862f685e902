"""The way forward after a restored backup, or a failover to a replica that lacked the last commits: what providers list against what this database remembers.

Read once, before anything is written: what a person is shown is what is done. Nobody's money is moved: what only a provider knows becomes a person's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection, transaction

from fulfillment import engine, ledger
from fulfillment.engine import Shown
from fulfillment.models import FINAL, Saga, SagaState, StepRecord
from fulfillment.reconciliation import forgotten, shop_rules
from fulfillment.reconciliation.finding import Finding
from fulfillment.reconciliation.incidents import ACTOR, FindingIncidents
from fulfillment.reconciliation.listings import Booked, Charged, Listings, Watch, providers, read
from fulfillment.recovery import releases
from orders import numbers
from orders.incidents import IncidentKind, resolve, unresolved
from orders.money import money

A_PAGE = 500
GAP = 1000  # numbers and ids that are left out behind the last one that a provider knows: the newest may never have come so far
RESUMED_PER_S = 20
LEAVES_US = ("orders_order", "fulfillment_saga", "orders_fact")  # tables whose ids stand in messages


class NotNow(Exception):
    """Nothing was done; the sentence says what is in the way."""


class StillAtWork(NotNow):
    """A process of the shop is connected to this database."""


@dataclass(kw_only=True)
class OpenOrder:
    """One that had not ended when the backup was taken. ``differs``: a sentence for each step of which the provider shows something else.

    ``waits``: for a person, since before the recovery.
    """

    saga: int
    number: str
    at_risk: str
    shown: dict[str, Shown]
    differs: list[str]
    waits: bool

    @property
    def sentence(self) -> str:
        return f"{self.number}: {'; '.join(self.differs)} ({self.at_risk} at risk)"


@dataclass(kw_only=True)
class Recovery:
    """What was found, and what would be done. ``unknown``: of the orders that only providers know."""

    forgotten: forgotten.Forgotten
    unknown: list[Finding]
    open_orders: list[OpenOrder] = field(default_factory=list)

    @property
    def needs_person(self) -> list[OpenOrder]:
        return [one for one in self.open_orders if one.differs]

    @property
    def waiting(self) -> list[OpenOrder]:
        return [one for one in self.open_orders if one.waits]


def find(watch: Watch) -> Recovery:
    """Raises NotNow: somebody works on this database, or a provider does not list what it holds."""
    if kinds := sorted({kind for running in releases.running().values() for kind in running.kinds}):
        raise StillAtWork(
            f"Still at work on this database: {', '.join(kinds)}. Stop web, workers, sweep and relay first. Nothing was done."
        )
    listings = read(providers(Saga.objects.all()), None, watch)
    if listings.silent:
        silent = "; ".join(f"{' '.join(place)}: {why}" for place, why in sorted(listings.silent.items()))
        raise NotNow(f"What a provider does not list cannot be compared ({silent}). Try again when it answers. Nothing was done.")
    unknown = list(shop_rules.unknown_order(listings))
    found = Recovery(forgotten=forgotten.find(listings), unknown=unknown)
    for saga in _open_sagas():
        found.open_orders.append(_compared(saga, listings))
        watch("comparing open orders", len(found.open_orders), None)
    return found


def recover(found: Recovery, watch: Watch) -> None:
    """May be repeated: whoever was killed half-way runs it again, and orders are taken only at its end."""
    incidents = FindingIncidents(is_whole=False)
    incidents.record(forgotten.findings(found.forgotten), ())  # from here to the end no order is taken, whoever dies
    _go_on_behind(found.forgotten)
    for place, one in enumerate(found.open_orders, 1):
        engine.restored(one.saga, one.shown, place / RESUMED_PER_S)
        watch("open orders", place, len(found.open_orders))
    with transaction.atomic():
        incidents.record(found.unknown, ())
        reason = f"{len(found.unknown)} orders that only providers know are incidents of their own"
        resolve(unresolved(kind=IncidentKind.FORGOTTEN_ORDERS), "recovered", reason, ACTOR)


def _open_sagas() -> Iterator[Saga]:
    last = 0
    while page := list(
        Saga.objects.exclude(state__in=FINAL)
        .filter(pk__gt=last)
        .select_related("order")
        .prefetch_related("records")
        .order_by("pk")[:A_PAGE]
    ):
        yield from page
        last = page[-1].pk


def _compared(saga: Saga, listings: Listings) -> OpenOrder:
    charges, labels = listings.of(saga.order.number)
    records = [record for record in saga.records.all() if not engine.is_local(saga, record)]
    shown = {record.name: _shown(saga, record, (*charges, *labels)) for record in records}
    is_moving = saga.state in (SagaState.RUNNING, SagaState.COMPENSATING)
    off = [
        f"{record.name} is {record.get_state_display().lower()} here, and the provider shows {shown[record.name]}"
        for record in records
        if is_moving and engine.differs(record, shown[record.name])
    ]
    for record in records:
        record.doubt = record.doubt or engine.is_in_doubt(record)  # as it will be
    at_risk = money(engine.at_risk_minor(saga), saga.order.currency)
    return OpenOrder(saga=saga.pk, number=saga.order.number, at_risk=at_risk, shown=shown, differs=off, waits=not is_moving)


def _shown(saga: Saga, record: StepRecord, entries: tuple[Charged | Booked, ...]) -> Shown:
    provider, keys = engine.planned(saga, record.name)["gateway"], engine.do_keys(record)
    mine = [entry for entry in entries if entry.provider == provider and entry.key in keys]
    if not mine:
        return Shown.NOTHING
    return Shown.WHOLE if any(_is_whole(saga, record, entry) for entry in mine) else Shown.OTHER


def _is_whole(saga: Saga, record: StepRecord, entry: Charged | Booked) -> bool:
    if isinstance(entry, Booked):
        return entry.is_open
    held = ledger.remaining(saga.order_id, record.name) or saga.order.total_minor
    return (entry.left_minor, entry.currency) == (held, saga.order.currency)


def _go_on_behind(found: forgotten.Forgotten) -> None:
    """Nothing that went out bears an id, or a number, that is issued again: messages of forgotten orders mean nobody."""
    newest = numbers.newest()
    last = max([newest, *(numbers.place_of(number) or 0 for number in found.orders)])
    numbers.go_on_behind(last + GAP)
    with connection.cursor() as cursor:
        for table in LEAVES_US:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, 'id'), nextval(pg_get_serial_sequence(%s, 'id')) + %s)",
                [table, table, last - newest + GAP],
            )
