"""Findings about the broker and the workers: does it take messages, who consumes each queue, and how many connections may they open?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import kombu
from celery import Celery
from django.conf import settings

from config.broker import no_answer, trouble
from config.stack.commands import CONSUMERS
from config.stack.worker_settings import POOL
from orders.findings import FAIL, OK, WARN, Finding, runbook


def broker_and_workers(app: Celery, within_s: float, waits_in: Callable[[str], str]) -> Iterator[Finding]:
    """``within_s``: so long the workers' answers are waited for. ``waits_in``: what waits in a queue, as a sentence; empty: nothing, or nobody knows."""
    address = kombu.Connection(settings.CELERY_BROKER_URL).as_uri()
    if wrong := trouble():
        to_do = "start it, free its memory or disk, or set CELERY_BROKER_URL to the one that takes writes; placed orders are kept and go on when it does"
        yield Finding(level=FAIL, what="broker", found=f"{address} {wrong}", to_do=to_do)
        return
    yield Finding(level=OK, what="broker", found=f"{address} answers")
    answered = consumers(app, within_s)
    for queue, start in CONSUMERS.items():
        if names := answered.get(queue):
            yield Finding(level=OK, what="workers", found=f'queue "{queue}" is consumed by {", ".join(sorted(names))}')
        else:
            waits = waits_in(queue)
            found = f'no worker answers for queue "{queue}"{f" ({waits})" if waits else ""}'
            yield Finding(level=FAIL, what="workers", found=found, to_do=start, runbook=runbook("no-consumer"))


def consumers(app: Celery, within_s: float) -> dict[str, list[str]]:
    """The workers that answer in time, by queue."""
    try:
        answers = app.control.inspect(timeout=within_s).active_queues() or {}
    except no_answer():
        return {}
    found: dict[str, list[str]] = {}
    for worker, queues in answers.items():
        for queue in queues:
            found.setdefault(queue["name"], []).append(worker)
    return found


def stats(app: Celery, within_s: float) -> dict[str, Any]:
    """What the workers that answer in time say of themselves, by name."""
    try:
        return dict(app.control.inspect(timeout=within_s).stats() or {})
    except no_answer():
        return {}


def connections(answers: Mapping[str, Any]) -> int:
    """What these workers may open at the database: each process of a pool keeps one, and so may the worker's main process."""
    return sum(int(answer.get("pool", {}).get("max-concurrency", 0)) + 1 for answer in answers.values())


def pools(answers: Mapping[str, Any]) -> Iterator[Finding]:
    """Workers that were started with another pool than ours."""
    for name, answer in sorted(answers.items()):
        pool = str(answer.get("pool", {}).get("implementation", ""))
        if pool and POOL.value not in pool:
            yield Finding(
                level=WARN,
                what="workers",
                found=f"{name} runs its tasks in {pool.partition(':')[0]}: time limits may not hold there",
                to_do=f"start it with {POOL.words}",
            )
