"""``manage.py sandbox``: the provider sandbox, in the foreground."""

from argparse import ArgumentTypeError, BooleanOptionalAction
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from fulfillment.management.numbers import above_zero
from fulfillment.sandbox.server import CannotStart, run

MAX_TIME_SCALE = 100.0


class Command(BaseCommand):
    help = (
        "Play payment providers and carriers over HTTP on 127.0.0.1, until SIGTERM or Ctrl-C; what they did is in GET /ledger. "
        "Example: python manage.py sandbox --port 8900 --ledger .run/sandbox.sqlite3 --time-scale 0.1 --demo-values"
    )
    # It starts before the database is there, and outlives it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=_port, default=8900, help="0 takes a free one, and prints it (default: %(default)s)")
        parser.add_argument("--ledger", type=Path, default=settings.SANDBOX_LEDGER, help="its SQLite file (default: %(default)s)")
        parser.add_argument(
            "--time-scale",
            type=partial(above_zero, most=MAX_TIME_SCALE),
            default=settings.TIME_SCALE,
            help="multiplies all its delays (default: %(default)s)",
        )
        parser.add_argument(
            "--demo-values",
            action=BooleanOptionalAction,
            default=settings.DEMO_VALUES,
            help="accept the test cards and test addresses, and serve /control (default: %(default)s)",
        )

    def handle(self, **options: Any) -> None:
        try:
            run(options["port"], options["ledger"], options["time_scale"], options["demo_values"], self._announce)
        except CannotStart as fault:
            raise CommandError(str(fault)) from None

    def _announce(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text} is not a port: 0 to 65535.")
    return int(text)
