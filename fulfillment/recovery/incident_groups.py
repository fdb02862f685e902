"""Incident groups: what one cause has brought about is one row, by fingerprint (kind, step, code), most money first. Snoozed incidents are left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max, Min, Q, QuerySet, Sum

from orders.clock import ShopNow
from orders.incidents import RUNBOOKS, Incident, IncidentState, kind_label
from orders.money import money


@dataclass(kw_only=True)
class Group:
    """``at_risk``: minor units by currency."""

    kind: str
    step: str
    code: str
    orders: int = 0
    at_risk: dict[str, int] = field(default_factory=dict)
    first: datetime
    last: datetime

    @property
    def label(self) -> str:
        return kind_label(self.kind)

    @property
    def runbook(self) -> str:
        return f"{RUNBOOKS}/{self.kind}.md"


def awake() -> QuerySet[Incident]:
    """Open, and not snoozed beyond this instant."""
    return Incident.objects.filter(Q(state=IncidentState.OPEN) | Q(state=IncidentState.SNOOZED, snoozed_until__lte=ShopNow()))


def snoozed() -> QuerySet[Incident]:
    return Incident.objects.filter(state=IncidentState.SNOOZED, snoozed_until__gt=ShopNow())


def groups() -> list[Group]:
    """One query. Most money first, then the oldest."""
    rows = awake().order_by().values("kind", "step", "code", "currency")
    found: dict[tuple[str, str, str], Group] = {}
    for row in rows.annotate(orders=Sum("count"), minor=Sum("amount_minor"), first=Min("opened_at"), last=Max("opened_at")):
        key = (row["kind"], row["step"], row["code"])
        group = found.setdefault(key, Group(kind=key[0], step=key[1], code=key[2], first=row["first"], last=row["last"]))
        group.orders += row["orders"]
        group.at_risk[row["currency"]] = row["minor"]
        group.first, group.last = min(group.first, row["first"]), max(group.last, row["last"])
    return sorted(found.values(), key=lambda group: (-sum(group.at_risk.values()), group.first))


def amounts(*at_risk: Mapping[str, int]) -> str:
    """€84.20 + US$10.00: the sum of these by currency. Empty: nothing is at risk."""
    total: Counter[str] = Counter()
    for one in at_risk:
        total.update(one)
    return " + ".join(money(minor, currency) for currency, minor in sorted(total.items()) if minor)
