"""Every order at rest is judged by the rules about an order, chunk by chunk. What landed late is compensated."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from fulfillment import engine
from fulfillment.models import Saga
from fulfillment.reconciliation import journal, money, parcels, shop_rules
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered, gather
from fulfillment.reconciliation.listings import Place
from fulfillment.reconciliation.repair import compensate_late_landings
from fulfillment.reconciliation.scope import Run
from orders.database import readable

CHUNK = 500

RULES: tuple[Callable[[Gathered], Iterator[Finding]], ...] = (
    money.charges_nobody_owns,
    money.money_adds_up,
    money.nothing_given_back_twice,
    parcels.labels_nobody_owns,
    parcels.one_label_or_none,
    journal.status_agrees_with_saga,
    journal.every_compensation_has_ended,
    journal.fact_recorded_once,
    journal.reservations_closed,
    journal.history_rebuilds_the_journal,
)
OF_THE_SHOP = (*shop_rules.RULES, Rule.EACH_EFFECT_ONCE, Rule.UNKNOWN_ORDER, Rule.FORGOTTEN_ORDERS, Rule.UNEXPLAINED, Rule.NOT_LISTED)
OF_AN_ORDER = tuple(rule for rule in Rule if rule not in OF_THE_SHOP)


@dataclass
class _Judged:
    """The findings about a chunk of orders."""

    orders: list[tuple[Gathered, list[Finding]]]
    unreadable: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        return [finding for _, findings in self.orders for finding in findings] + self.unreadable


def judge(run: Run) -> Iterator[list[Finding]]:
    """The findings of each chunk. They are incidents, and repaired, before the next chunk is read."""
    total, report = len(run.at_rest), run.report
    for start in range(0, total, CHUNK):
        run.watch("judging orders", start, total)
        broken: list[int] = []
        judged = readable(run.at_rest[start : start + CHUNK], partial(_judged, run=run), broken.append)
        chunk = _Judged(judged, [_unreadable(saga) for saga in broken])
        report.judged += len(chunk.orders)
        report.unreadable += len(chunk.unreadable)
        run.listings.drop(gathered.order.number for gathered, _ in chunk.orders)
        run.incidents.record(chunk.findings, OF_AN_ORDER, [gathered.saga.order_id for gathered, _ in chunk.orders])
        for gathered, findings in chunk.orders:
            if run.scope.repair and findings:
                run.watch("undoing what landed late", start, total)
                compensate_late_landings(gathered, findings)
            run.listed.judged(gathered, findings)
        yield chunk.findings


def _judged(ids: Sequence[int], *, run: Run) -> list[tuple[Gathered, list[Finding]]]:
    sagas = list(Saga.objects.filter(pk__in=ids).select_related("order").prefetch_related("records").order_by("pk"))
    places = [(saga, _places(saga)) for saga in sagas]
    able = [saga for saga, needs in places if needs <= run.listings.providers]
    judged = [(gathered, findings_about(gathered)) for gathered in gather(able, run.listings, run.audit)]
    for saga, needs in places:  # counted last: what cannot be read is tried again in halves
        silent = needs & run.unjudged.keys()
        for place in silent:
            run.unjudged[place] += saga.order.total_minor
        run.report.silent += bool(silent)
        run.report.gone += not silent and not needs <= run.listings.providers
    return judged


def _unreadable(saga_id: int) -> Finding:
    """It names the order by plain columns. If these cannot be read either, it names the saga."""
    columns = ("order_id", "order__number", "order__currency", "order__total_minor")
    rows = readable([saga_id], lambda some: list(Saga.objects.filter(pk__in=some).values_list(*columns)))
    order_id, number, currency, total_minor = rows[0] if rows else (None, f"saga {saga_id}", settings.SHOP_CURRENCY, 0)
    found = "its rows cannot be read, so nobody can say whether it agrees"
    return Finding(subject=number, order_id=order_id, rule=Rule.UNREADABLE, found=found, amount_minor=total_minor, currency=currency)


def _places(saga: Saga) -> set[Place]:
    """Every provider that the plan pins."""
    plans = (engine.planned(saga, record.name) for record in saga.records.all())
    return {(plan["role"], plan["gateway"]) for plan in plans if plan.get("role")}


def findings_about(gathered: Gathered) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(gathered)]
