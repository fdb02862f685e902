"""``manage.py replay``: dead letters are sent again. Shows first what it would do; ``--yes`` does it."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.numbers import rate
from fulfillment.management.operating import OperatorCommand, authenticated, find_order, instant, order_number, words, wrong_usage
from orders.text import counted
from sideeffects import dead_letters, discovery, replay
from sideeffects.dead_letters import DeliveryGroup
from sideeffects.replay import Selection

SEEN, UNKNOWN = "customers see it: add --customers-see-it", "no code knows this subscriber: deploy code that does, or discard them"
FILTERS = ("subscriber", "error", "order", "since", "until")


class Command(OperatorCommand):
    help = (
        "Send dead letters again; without --yes nothing is done. What customers see, like a mail, goes out only with --customers-see-it. "
        "Killed half-way it loses nothing: what was recorded goes out, and the same command goes on with the rest. "
        'Example: manage.py replay --subscriber email --error ConnectionRefusedError --customers-see-it --yes --reason "the mail server is back"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--subscriber", default="", help="of this one, as `manage.py deliveries` names it")
        parser.add_argument("--error", default="", help="of this cause: the code that `manage.py deliveries` shows")
        parser.add_argument("--order", type=order_number, default="", help="of this order, like ORD-1043")
        parser.add_argument("--since", type=instant, help="of orders fulfilled then or later, like 2026-11-27T04:00 (UTC)")
        parser.add_argument("--until", type=instant, help="of orders fulfilled then or earlier")
        parser.add_argument("--all", action="store_true", help="whichever")
        parser.add_argument("--customers-see-it", action="store_true", help="also what customers see, like a mail that now comes late")
        parser.add_argument("--rate", type=rate, default=20.0, help="at most so many a second (default 20)")
        parser.add_argument("--yes", action="store_true", help="do it; needs --reason")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")

    def handle(self, *args: Any, **options: Any) -> None:
        if any(options[name] for name in FILTERS) == options["all"]:
            wrong_usage("Which dead letters? Give --subscriber, --error, --order, --since or --until; or --all.")
        if options["yes"] and not options["reason"]:
            wrong_usage("--yes needs --reason.")
        actor = authenticated("replay") if options["yes"] else None
        if options["order"]:
            find_order(options["order"])
        selection = Selection(**{name: options[name] for name in FILTERS})
        found = dead_letters.grouped(selection.letters())
        taken = [group for group in found if not _left_out(group, options["customers_see_it"])]
        if actor is None:
            self._show(found, options, 0)
            return
        if found and not taken:
            sys.exit("\n".join([*(_line(group, options["customers_see_it"]) for group in found), "Nothing was done."]))
        decided = {"reason": options["reason"], "rate_per_s": options["rate"]}
        replayed = replay.replay(selection, {group.subscriber for group in taken}, actor=actor, **decided)
        self._show(found, options, replayed)

    def _show(self, found: list[DeliveryGroup], options: dict[str, Any], replayed: int) -> None:
        seen = options["customers_see_it"]
        count = sum(group.count for group in found if not _left_out(group, seen))
        if options["json"]:
            rows = [_as_json(group, seen) for group in found]
            self.write_json({"replayed": replayed, "dead_letters": rows})
            return
        self.write_lines(*(_line(group, seen) for group in found))
        if not found:
            self.write_lines("There is no such dead letter. Nothing was done.")
        elif options["yes"]:
            self.write_lines(
                f"{replayed} are sent again, {options['rate']:g} a second at most. `manage.py deliveries` shows what becomes of them."
            )
        else:
            self.write_lines(f'{count} would be sent again. Nothing was done. To do it, add: --yes --reason "…"')


def _left_out(group: DeliveryGroup, customers_see_it: bool) -> str:
    """Why these stay as they are; empty: they do not."""
    subscription = discovery.subscriptions().get(group.subscriber)
    if subscription is None:
        return UNKNOWN
    return SEEN if subscription.seen_by_customers and not customers_see_it else ""


def _as_json(group: DeliveryGroup, customers_see_it: bool) -> dict[str, Any]:
    return {"subscriber": group.subscriber, "error": group.code, "count": group.count, "left_out": _left_out(group, customers_see_it)}


def _line(group: DeliveryGroup, customers_see_it: bool) -> str:
    why = _left_out(group, customers_see_it)
    return f"{group.subscriber} · {group.code or 'no error is recorded'} · {counted(group.count, 'dead letter')}{f' · left out: {why}' if why else ''}"
