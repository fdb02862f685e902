"""The core's numbers on ``/status``. Names end in their unit: ``_s`` seconds, ``_minor`` minor units by currency."""

from typing import Any

from django.db.models import Count, Min, Sum

from fulfillment import recovery
from fulfillment.clock import shop_now
from fulfillment.models import Saga, SagaState
from orders import overload
from orders.findings import rounded


def numbers() -> dict[str, Any]:
    """Raises DatabaseError."""
    return {
        "incidents": _incidents(),
        "orders": _orders(),
        "overload": _overload(),
        "sweep_age_s": rounded(recovery.sweep_age_s()),
        "reconciliation": _reconciliation(),
    }


def _incidents() -> dict[str, Any]:
    rows = recovery.awake().order_by().values_list("currency").annotate(Count("pk"), Sum("amount_minor"))
    return {"open": sum(count for _, count, _ in rows), "at_risk_minor": {currency: minor for currency, _, minor in rows if minor}}


def _orders() -> dict[str, Any]:
    moving = Saga.objects.filter(state__in=[SagaState.RUNNING, SagaState.COMPENSATING])
    counted = moving.aggregate(count=Count("pk"), oldest=Min("opened_at"))
    age_s = (shop_now() - counted["oldest"]).total_seconds() if counted["oldest"] else None
    return {"under_way": counted["count"], "oldest_s": rounded(age_s)}


def _overload() -> dict[str, Any]:
    refusing = overload.refusing()
    if refusing is None:
        return {"for_s": None, "refused": 0}
    return {"for_s": rounded((shop_now() - refusing.since).total_seconds()), "refused": refusing.refused}


def _reconciliation() -> dict[str, Any]:
    last = recovery.last_reconciliation()
    return {
        "age_s": rounded(recovery.not_compared_for_s()),
        "outcome": last.outcome if last else None,
        "findings": last.findings if last else None,
        "unexplained_minor": last.unexplained if last else {},
    }
