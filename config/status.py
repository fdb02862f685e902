"""``/status``: what ``manage.py doctor`` finds, and the numbers behind it, within a bound. Without a token, so without order numbers and personal data."""

import dataclasses
import re
from typing import Any

from django.db import DatabaseError
from django.db.models import Count, Min, Sum

from config import broker, doctor
from config.doctor import FAIL, Finding
from config.single_flight import Question
from fulfillment import recovery
from fulfillment.clock import shop_now
from fulfillment.models import Saga, SagaState
from orders.database import limited
from sideeffects import people, relay

ASK_FOR_S = 0.8  # workers and providers, one after the other
READ_FOR_S = 1.0
READ_OF_SIDE_EFFECTS_FOR_S = 0.3
ORDER_NUMBER = re.compile(r"\bORD-[\w-]+")


class Examination:
    """One at a time. Whoever asks waits at most ``within_s``; what was found by then is shown, with a finding that says so."""

    def __init__(self, within_s: float) -> None:
        self._question = Question(self._examine, within_s)
        self._within_s = within_s
        self._found: list[Finding] = []
        self._numbers: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        try:
            self._question.answer()
        except TimeoutError:
            return _report([*self._found, self._unfinished()], self._numbers)
        return _report(self._found, self._numbers)

    def _examine(self) -> None:
        self._found, self._numbers = [], {}
        for finding in doctor.examine(ASK_FOR_S):
            self._found.append(finding)
            if finding.what == "database" and finding.level != FAIL:
                self._numbers = numbers()

    def _unfinished(self) -> Finding:
        last = self._found[-1].what if self._found else "nothing"
        found = f"what comes after {last} has not answered within {self._within_s:g} s"
        return Finding(level=FAIL, what="status", found=found, to_do="python manage.py doctor")


def _report(found: list[Finding], counted: dict[str, Any]) -> dict[str, Any]:
    return {"level": doctor.worst(found), "findings": [_public(finding) for finding in found], "numbers": counted}


def _public(finding: Finding) -> dict[str, str]:
    return {name: ORDER_NUMBER.sub("ORD-…", text) for name, text in dataclasses.asdict(finding).items()}


def numbers() -> dict[str, Any]:
    """Seconds end in ``_s``, amounts are minor units by currency. Empty where the database cannot be read; what only the side effects know is None then."""
    try:
        with limited(READ_FOR_S):
            counted = {
                "incidents": _incidents(),
                "orders": _orders(),
                "sweep_age_s": _rounded(recovery.sweep_age_s()),
                "reconciliation": _reconciliation(),
            }
            silent = recovery.unanswered_for_s()
    except DatabaseError:
        return {}
    waiting = broker.lengths(broker.QUEUES)
    return (
        counted
        | _of_side_effects()
        | {"queues": {queue: {"waiting": waiting.get(queue), "silent_s": silent.get(queue, 0.0)} for queue in broker.QUEUES}}
    )


def _of_side_effects() -> dict[str, Any]:
    """Apart: whoever holds their tables takes no number of the core away."""
    try:
        with limited(READ_OF_SIDE_EFFECTS_FOR_S):
            return {"deliveries": _deliveries(), "relay_age_s": _rounded(relay.age_s())}
    except DatabaseError:
        return {"deliveries": None, "relay_age_s": None}


def _incidents() -> dict[str, Any]:
    rows = recovery.awake().order_by().values_list("currency").annotate(Count("pk"), Sum("amount_minor"))
    return {"open": sum(count for _, count, _ in rows), "at_risk_minor": {currency: minor for currency, _, minor in rows if minor}}


def _reconciliation() -> dict[str, Any]:
    last = recovery.last_reconciliation()
    return {
        "age_s": _rounded(recovery.not_compared_for_s()),
        "outcome": last.outcome if last else None,
        "findings": last.findings if last else None,
        "unexplained_minor": last.unexplained if last else {},
    }


def _orders() -> dict[str, Any]:
    moving = Saga.objects.filter(state__in=[SagaState.RUNNING, SagaState.COMPENSATING])
    counted = moving.aggregate(count=Count("pk"), oldest=Min("opened_at"))
    age_s = (shop_now() - counted["oldest"]).total_seconds() if counted["oldest"] else None
    return {"under_way": counted["count"], "oldest_s": _rounded(age_s)}


def _deliveries() -> dict[str, int]:
    counted = {state: sum(pile.count for pile in people.piles() if pile.state == state) for state in people.WAITING}
    return {"waiting": relay.waiting(), **{state.value: count for state, count in counted.items()}}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
