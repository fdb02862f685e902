"""``manage.py consume``: prints what arrives on the bus, as a program outside gets it."""

import json
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from config.management.commands.bus import NO_BUS
from fulfillment.management.numbers import at_least_one
from fulfillment.management.operating import OperatorCommand
from sideeffects import bus


class Command(OperatorCommand):
    help = (
        "Print the events on the bus, for ever: one line each, or the whole envelope with --json. In the pattern, * stands for one word and # for any "
        "number. Examples: manage.py consume 'order.*' · manage.py consume '#' --from 1 --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("pattern", nargs="?", default="#", help="of the types, like order.* (default #: every type)")
        parser.add_argument(
            "--from",
            type=at_least_one,
            dest="first",
            metavar="NUMBER",
            help="begin with this one, if the bus still keeps it; else with what comes",
        )
        parser.add_argument("--count", type=at_least_one, help="end after so many")
        parser.add_argument("--queue", default="", help="RabbitMQ: a queue that is kept, so that nothing is missed between two runs")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.BUS_URL:
            sys.exit(NO_BUS)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        left = options["count"] or float("inf")
        try:
            for received in self._arriving(options):
                self.stdout.write(json.dumps(received.envelope, ensure_ascii=False) if options["json"] else _line(received))
                self.stdout.flush()
                left -= 1
                if left <= 0:
                    break
        except bus.BusTrouble as trouble:
            sys.exit(f"Cannot go on: {trouble}.")
        except KeyboardInterrupt:
            return

    def _arriving(self, options: dict[str, Any]) -> Any:
        after = None if options["first"] is None else options["first"] - 1
        return filter(None, bus.connect().receive(options["pattern"], after, options["queue"]))


def _line(received: bus.Received) -> str:
    envelope = received.envelope
    return f"{received.number} · {envelope['time']} · {envelope['type']} · {envelope['subject']} · {json.dumps(envelope['data'], ensure_ascii=False)}"
