"""Findings about orders under way: how old is the oldest, and what do the others wait for?"""

from collections.abc import Iterator

from django.conf import settings

from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.code_release import RELEASE
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import releases as of_releases
from orders.findings import OK, WARN, Finding, duration, runbook
from orders.findings import sessions as of_sessions
from orders.text import counted


def orders() -> Iterator[Finding]:
    moving = Saga.objects.filter(state__in=[SagaState.RUNNING, SagaState.COMPENSATING])
    oldest = moving.select_related("order").defer("plan").order_by("opened_at").first()
    if oldest is None:
        yield Finding(level=OK, what="orders", found="none under way")
        return
    age_s = (shop_now() - oldest.opened_at).total_seconds()
    found = f"{moving.count()} under way, the oldest ({oldest.order.number}) for {duration(age_s)}"
    if age_s <= settings.SAGA_DEADLINE_S:
        yield Finding(level=OK, what="orders", found=found)
    else:
        to_do = f"python manage.py why {oldest.order.number}"
        yield Finding(level=WARN, what="orders", found=found, to_do=to_do, runbook=runbook("stuck"))


def wait_in(queue: str) -> str:
    """How many orders have a message in this queue of the core; empty: none."""
    scheduled = StepState.COMPENSATION_SCHEDULED if queue == "compensation" else StepState.SCHEDULED
    count = StepRecord.objects.filter(state=scheduled).count()
    return counted(count, "order", "wait") if count else ""


def locks() -> Iterator[Finding]:
    """Sessions that keep what others need, and the orders that wait for our own database because of them."""
    held = list(of_sessions.holders())
    yield from held
    if waiting := engine.waiting_for_our_database():
        found = f"{counted(waiting, 'order', 'wait')} for our own database; it costs them time only"
        yield Finding(level=WARN, what="locks", found=found, to_do="they go on by themselves", runbook=of_sessions.RUNBOOK)
    elif not held:
        yield Finding(level=OK, what="locks", found="nobody has stood still in a transaction for 5 s")


def releases() -> Iterator[Finding]:
    """A deploy that is not finished, and the orders that wait for its end."""
    running, waiting = of_releases.running(), of_releases.waiting()
    parts = [
        f"{counted(one.orders, 'order', 'wait')} for a process of release {needed}, since {one.since:%H:%M:%S} UTC"
        for needed, one in waiting.items()
    ]
    if len(running) > 1:
        newest = max(running)
        sides = "; ".join(f"release {release}: {', '.join(one.kinds)}" for release, one in running.items())
        parts.insert(0, f"{len(running)} releases run side by side since {running[newest].since:%H:%M:%S} UTC ({sides})")
    if parts:
        to_do = "finish the deploy: restart what is of the older release, workers first"
        yield Finding(level=WARN, what="releases", found="; ".join(parts), to_do=to_do, runbook=runbook("unknown_step"))
    else:
        found = f"this is release {RELEASE}, no process of another one is seen, and no order waits for one"
        yield Finding(level=OK, what="releases", found=found)
