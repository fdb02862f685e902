"""``manage.py health``: is this host's own process at work? For the health check of a container."""

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from celery.utils.nodenames import host_format
from django.conf import settings
from django.core.management.base import BaseCommand

from config.broker import no_answer, trouble
from config.celery import app
from config.management import heartbeat
from config.worker import watchdog
from orders.text import counted

LOOPS = ("sweep", "relay")
ASK_FOR_S = 2.0
HEALTHY, SICK = 0, 1


class Command(BaseCommand):
    help = (
        "Exit 0 if this host's own process works, 1 if it is to be started again, with one sentence. What the process needs is not its fault: a broker "
        "that is down makes no worker sick. Example: manage.py health saga@%h, or manage.py health sweep"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "process", type=_process, help=f"{', '.join(LOOPS)}, or the name of a worker as its -n gives it: %%h is this host"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        process = options["process"]
        code, sentence = _loop(process) if process in LOOPS else _worker(process)
        self.stdout.write(sentence)
        sys.exit(code)


def _process(word: str) -> str:
    if word in LOOPS:
        return word
    if "@" not in word:
        raise ArgumentTypeError(f"'{word}' is neither {', '.join(LOOPS)}, nor a worker's name with its host, like saga@%h")
    return str(host_format(word))


def _loop(name: str) -> tuple[int, str]:
    ages = heartbeat.ages_s(name)
    if not ages:
        return SICK, f"No {name} of this host has left a sign of life in {settings.RUN_DIR}/alive."
    pid, age_s = max(ages.items(), key=lambda one: one[1])
    healthy = age_s <= heartbeat.DEAD_AFTER_S
    return HEALTHY if healthy else SICK, f"The {name} (pid {pid}) got round {age_s:.1f} s ago."


def _worker(node: str) -> tuple[int, str]:
    """It answers, and nothing in its pool has outlived every limit."""
    if wrong := trouble():
        return HEALTHY, f"The broker {wrong}, so nobody can ask {node}; starting it again would mend nothing."
    try:
        answers = app.control.inspect(destination=[node], timeout=ASK_FOR_S, limit=1).active() or {}
    except no_answer():
        return HEALTHY, f"The broker went away while {node} was asked."
    if node not in answers:
        return SICK, f"{node} has not answered within {ASK_FOR_S:g} s."
    running = [time.time() - task["time_start"] for task in answers[node] if task["time_start"]]
    app.loader.import_default_modules()
    if running and max(running) > watchdog.patience_s(app.tasks.values()):
        return SICK, f"{node} answers, and a task of its pool has run for {max(running):.0f} s, beyond every limit."
    return HEALTHY, f"{node} answers; its pool runs {counted(len(running), 'task')}."
