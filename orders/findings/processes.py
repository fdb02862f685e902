"""Findings about processes: crash loops, loops that have stopped, and queues that let nothing out."""

from collections.abc import Iterator

from django.conf import settings

from orders import processes
from orders.clock import shop_now
from orders.findings import FAIL, OK, WARN, Finding, duration, runbook
from orders.queue_probes import unanswered_for_s

LOOP_DEAD_AFTER_S = 30.0
QUEUE_SILENT_AFTER_S = 30.0


def crash_loops() -> Iterator[Finding]:
    """Processes that registered a crash loop. One that ends before its first statement shows by what it does not do: a queue without a consumer."""
    loops = processes.crash_loops()
    for loop in loops:
        found = f"{loop.name} has crashed {loop.crashes} times in a row, last {duration((shop_now() - loop.at).total_seconds())} ago"
        role, log = loop.name.partition("@")[0], settings.RUN_DIR / "log"
        where = log / f"{role}.log" if (log / f"{role}.log").exists() else "what it writes to its standard error"
        yield Finding(level=FAIL, what="processes", found=found, to_do=f"read the end of {where}", runbook=runbook("crash_loop"))
    if not loops:
        yield Finding(level=OK, what="processes", found="none crashes again and again")


def loop(name: str, age_s: float | None, every_s: float, follows: str = "") -> Finding:
    """Whether the loop ``name`` works, by the age of its heartbeat in the database. ``follows``: what follows if it does not.

    That heartbeat is rarer than the loop's rounds: ``manage.py health`` knows the rounds of this host.
    """
    heartbeat = "has never run" if age_s is None else f"its last heartbeat is {duration(age_s)} old (one is due every {every_s:g} s)"
    if age_s is not None and age_s <= LOOP_DEAD_AFTER_S:
        return Finding(level=OK, what=name, found=f"at work; {heartbeat}")
    return Finding(level=FAIL, what=name, found=f"{heartbeat}{follows}", to_do=f"python manage.py {name}", runbook=runbook("sweep-dead"))


def queues() -> Iterator[Finding]:
    """Queues into which a stamp was sent that has not come out."""
    ages = unanswered_for_s()
    silent = {queue: age_s for queue, age_s in ages.items() if age_s > settings.PROBE_AFTER_S}  # a younger stamp may well be on its way
    for queue, age_s in sorted(silent.items()):
        level = FAIL if age_s > QUEUE_SILENT_AFTER_S else WARN
        found = f'"{queue}" has let nothing out for {duration(age_s)}'
        to_do = "add workers, or restart those that hang"
        yield Finding(level=level, what="queues", found=found, to_do=to_do, runbook=runbook("no-consumer"))
    if not silent:
        yield Finding(level=OK, what="queues", found="whatever was sent through them came out")
