"""``/status``: what ``manage.py doctor`` finds, and the numbers behind it, within a bound. It asks for no token: no order numbers, no personal data.

Who does not ask on this machine learns how each thing is, and not what was found: sentences name versions, hosts, sockets and the addresses of providers.
"""

import dataclasses
import re
from typing import Any

from django.db import DatabaseError

from config import broker, doctor
from config.stack.commands import QUEUES
from fulfillment.findings import numbers as core
from orders.database import limited
from orders.findings import FAIL, Finding, worst
from orders.queue_probes import unanswered_for_s
from orders.single_flight import SingleFlight
from sideeffects import findings as side_effects

ASK_FOR_S = 0.8  # workers and providers, one after the other
READ_FOR_S = 1.0
READ_OF_SIDE_EFFECTS_FOR_S = 0.3
OF_EVERYBODY = ("level", "what", "runbook")
ORDER_NUMBER = re.compile(r"\bORD-[\w-]+")


class Examination:
    """One at a time. Whoever asks waits at most ``within_s`` seconds; what was found by then is shown, with a finding that says so."""

    def __init__(self, within_s: float) -> None:
        self._flight = SingleFlight(self._examine, within_s)
        self._within_s = within_s
        self._found: list[Finding] = []
        self._numbers: dict[str, Any] = {}

    def report(self, *, in_detail: bool = True) -> dict[str, Any]:
        try:
            self._flight.answer()
        except TimeoutError:
            return _report([*self._found, self._unfinished()], self._numbers, in_detail)
        return _report(self._found, self._numbers, in_detail)

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


def _report(found: list[Finding], counted: dict[str, Any], in_detail: bool) -> dict[str, Any]:
    return {"level": worst(found), "findings": [_shown(finding, in_detail) for finding in found], "numbers": counted}


def _shown(finding: Finding, in_detail: bool) -> dict[str, str]:
    said = {name: ORDER_NUMBER.sub("ORD-…", text) for name, text in dataclasses.asdict(finding).items()}
    return said if in_detail else {name: said[name] for name in OF_EVERYBODY}


def numbers() -> dict[str, Any]:
    """Seconds end in ``_s``, amounts are minor units by currency. Empty where the database cannot be read; what only the side effects know is None then."""
    try:
        with limited(READ_FOR_S):
            counted, silent = core.numbers(), unanswered_for_s()
    except DatabaseError:
        return {}
    waiting = broker.lengths(QUEUES)
    queues = {queue: {"waiting": waiting.get(queue), "silent_s": silent.get(queue, 0.0)} for queue in QUEUES}
    return counted | _of_side_effects() | {"queues": queues}


def _of_side_effects() -> dict[str, Any]:
    """Apart: whoever holds their tables takes no number of the core away."""
    try:
        with limited(READ_OF_SIDE_EFFECTS_FOR_S):
            return side_effects.numbers()
    except DatabaseError:
        return {"deliveries": None, "relay_age_s": None}
