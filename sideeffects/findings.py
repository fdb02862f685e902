"""Findings of the side effects, for ``manage.py doctor`` and ``/status``: is the relay at work, and which deliveries wait? They read, and change nothing."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from orders.findings import OK, WARN, Finding, duration, rounded, runbook
from orders.findings.processes import loop
from orders.text import counted
from sideeffects import dead_letters, incidents, relay
from sideeffects.bus import lag
from sideeffects.models import DeliveryState

OVERDUE_S = 60.0


def of_relay() -> Iterator[Finding]:
    follows = ": side effects that failed, or whose message was lost, are not tried again"
    yield loop("relay", relay.age_s(), relay.HEARTBEAT_EVERY_S, follows)


def deliveries() -> Iterator[Finding]:
    overdue, groups = relay.waiting(OVERDUE_S), dead_letters.groups()
    dead, held = (sum(group.count for group in groups if group.state == state) for state in dead_letters.WAITING)
    gone = ", ".join(sorted({group.subscriber for group in groups if group.state == DeliveryState.SUBSCRIBER_REMOVED}))
    found = f"{relay.waiting()} waiting, {overdue} overdue, {dead} dead letters" + (
        f", {held} held for {gone}, which no code knows" if held else ""
    )
    silent = incidents.not_answering()
    found += "".join(f"; {subscriber}: {sentence}" for subscriber, sentence in silent.items())
    if groups or silent:
        yield Finding(level=WARN, what="deliveries", found=found, to_do="python manage.py deliveries", runbook=runbook("dead_letter"))
    elif overdue:
        yield Finding(level=WARN, what="deliveries", found=found, to_do="they need the relay and a worker", runbook=runbook("no-consumer"))
    else:
        yield Finding(level=OK, what="deliveries", found=found)


def of_bus() -> Iterator[Finding]:
    if not settings.BUS_URL:
        return
    still_s, waiting = lag.stands_still_for_s(), lag.waiting()
    found = f"{counted(waiting, 'event', 'wait')} for it"
    if still_s <= OVERDUE_S:
        yield Finding(level=OK, what="bus", found=found)
        return
    found += f", and it has taken none for {duration(still_s)}"
    yield Finding(level=WARN, what="bus", found=found, to_do="read the end of the relay's log", runbook=runbook("queue_unserved"))


def wait() -> str:
    """How many deliveries wait; empty: none."""
    count = relay.waiting()
    return counted(count, "delivery", "wait") if count else ""


def numbers() -> dict[str, Any]:
    """On ``/status``. Raises DatabaseError."""
    by_state = {state: sum(group.count for group in dead_letters.groups() if group.state == state) for state in dead_letters.WAITING}
    waiting = {"waiting": relay.waiting(), **{state.value: count for state, count in by_state.items()}}
    return {"deliveries": waiting, "relay_age_s": rounded(relay.age_s())}
