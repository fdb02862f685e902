"""``manage.py sweep``: looks for every saga that is due, and publishes it. Run as many as you like: one at a time works."""

import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections, connection

from config import alive
from config.checks import refuse_to_start
from fulfillment import recovery, tasks
from fulfillment.release import RELEASE
from orders.turns import Turn, holder_of


class Command(BaseCommand):
    help = "Find what is due (lost messages, dead workers, retries) and publish it again, every SWEEP_EVERY_S seconds. Example: manage.py sweep --once"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_to_start("sweep")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        sweep = Sweep(self.stdout.write)
        while not stop.is_set():
            sweep.round()
            if options["once"]:
                sweep.say_who_works()
                break
            stop.wait(settings.SWEEP_EVERY_S)
        sweep.end()


class Sweep:
    """Rounds that survive a database restart; ``tell`` gets one line for each round that found something."""

    def __init__(self, tell: Any) -> None:
        self.tell = tell
        self.turn = Turn("sweep", RELEASE)
        self.beaten_at = 0.0
        self.reconciling: subprocess.Popen[bytes] | None = None

    def round(self) -> int:
        """What was published again. A database that does not answer costs this round, nothing else."""
        alive.beat("sweep")
        try:
            close_old_connections()
            if not self.turn.take():
                return 0
            return self._round()
        except DatabaseError as down:
            self.tell(f"sweep: the database does not answer: {type(down).__name__}")
            connection.close()
            return 0

    def say_who_works(self) -> None:
        """For a person who wanted to see one round."""
        if not self.turn.keep():
            self.tell(f"sweep: {holder_of('sweep') or 'somebody else'} has the turn and works; this process did nothing")

    def end(self) -> None:
        """The next sweep begins at once."""
        with suppress(DatabaseError):
            self.turn.give_back()

    def _round(self) -> int:
        sagas = self._sagas()
        for queue, stamp in recovery.probes_due():
            if not tasks.send_probe(queue, stamp):
                recovery.probe_not_sent(queue)
        if sagas:
            self.tell(f"sweep: launched {sagas} sagas")
        self._beat()
        return sagas

    def _beat(self) -> None:
        """Also within a long round: twenty thousand sagas are not silence."""
        if time.monotonic() - self.beaten_at >= recovery.BEAT_EVERY.total_seconds():
            alive.beat("sweep")
            recovery.beat()
            self.beaten_at = time.monotonic()
            self._reconcile()

    def _sagas(self) -> int:
        launched = 0
        for launch in recovery.due(self.turn.keep):
            self._beat()
            if launch is None:
                continue
            if not tasks.launch(launch):
                recovery.not_published(launch)
                break  # the broker is down: what else is due stays due
            launched += 1
        return launched

    def _reconcile(self) -> None:
        """On schedule, in a process of its own, so that a long look at a provider delays nothing here."""
        if self.reconciling is not None and self.reconciling.poll() is None:
            return
        if recovery.reconciliation_is_due():
            self.reconciling = subprocess.Popen([sys.executable, str(settings.BASE_DIR / "manage.py"), "reconcile", "--since", "48"])
