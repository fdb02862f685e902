"""``manage.py bus``: how far the bus has got; and sends events again."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from fulfillment.management.numbers import at_least_one
from fulfillment.management.operating import OperatorCommand, authenticated
from orders import facts
from orders.text import counted
from sideeffects import bus
from sideeffects.bus import lag

NO_BUS = "There is no bus: BUS_URL is empty (docs/bus.md)."


class Command(OperatorCommand):
    help = (
        "Show how many events wait for the bus. With --again-from, and --yes, every event from that number on is sent once more, to everybody: "
        "whoever reads the bus recognises an event that it has had by its id. Example: manage.py bus --again-from 1200"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--again-from", type=at_least_one, metavar="NUMBER", help="the sequence of the first event that is to be sent again"
        )
        parser.add_argument("--yes", action="store_true", help="do it")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.BUS_URL:
            sys.exit(NO_BUS)
        first, newest = options["again_from"], facts.next_number() - 1
        if first is None:
            self._show(newest, options["json"])
            return
        if first > newest:
            sys.exit(f"There is no event {first}: the newest is {newest}. Nothing was done.")
        if options["yes"]:
            bus.ask_again(first, authenticated("send events again"))
        self._say_what_is_sent(first, newest, options)

    def _show(self, newest: int, as_json: bool) -> None:
        still_s, waiting = lag.stands_still_for_s(), lag.waiting()
        if as_json:
            self.write_json({"newest": newest, "waiting": waiting, "stands_still_for_s": round(still_s, 1)})
            return
        self.write_lines(f"The newest event is {newest}. {counted(waiting, 'event', 'wait')} for the bus.")

    def _say_what_is_sent(self, first: int, newest: int, options: dict[str, Any]) -> None:
        count = facts.numbered_from(first).count()
        if options["json"]:
            self.write_json({"again_from": first, "events": count, "asked": options["yes"]})
        elif options["yes"]:
            self.write_lines(f"{counted(count, 'event')}, {first} to {newest}, will be sent again by the relay.")
        else:
            self.write_lines(f"{counted(count, 'event')}, {first} to {newest}, would be sent again. Nothing was done. To do it, add: --yes")
