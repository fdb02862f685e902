"""``manage.py deliveries``: which side effects have not happened yet, and why; and what a person gives up."""

import dataclasses
import sys
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, authenticated, find_order, order_number, words, wrong_usage
from sideeffects import dead_letters, relay
from sideeffects.dead_letters import DeliveryGroup
from sideeffects.models import Delivery, DeliveryState

FILTERS = ("subscriber", "state", "error", "order")


class Command(OperatorCommand):
    help = (
        "Show the side effects that have not happened: without a filter how many there are by subscriber, state and error, with one each of them. "
        "`manage.py replay` sends dead letters again; --discard gives up what waits for a person. "
        "Examples: manage.py deliveries --subscriber email --state dead · "
        'manage.py deliveries --discard survey --reason "the survey is over"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--subscriber", default="", help="of this one")
        parser.add_argument("--state", choices=DeliveryState.values, default="", help="in this state")
        parser.add_argument("--error", default="", help="with this code of the last error, like ConnectionRefusedError")
        parser.add_argument("--order", type=order_number, default="", help="of this order, like ORD-1043")
        parser.add_argument("--discard", metavar="SUBSCRIBER", help="dead letters, or what is held, for good: the effect will not happen")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["order"]:
            find_order(options["order"])
        if options["discard"]:
            self._discard(options)
        elif any(options[name] for name in FILTERS):
            self._list(options)
        else:
            self._count(options["json"])

    def _count(self, as_json: bool) -> None:
        groups, waiting = dead_letters.all_groups(), relay.waiting()
        for_a_person = [group for group in groups if group.state in dead_letters.WAITING]
        if as_json:
            rows = [dataclasses.asdict(group) for group in groups]
            self.write_json(
                {"waiting": waiting, "for_a_person": [row for row in rows if row["state"] in dead_letters.WAITING], "deliveries": rows}
            )
            return
        self.write_lines(
            *map(_group_line, groups), f"{waiting} on their way, {sum(group.count for group in for_a_person)} wait for a person."
        )

    def _list(self, options: dict[str, Any]) -> None:
        found = dead_letters.chosen(**{name: options[name] for name in FILTERS})
        nothing = "There is no such delivery. Of a fact that nobody has begun to deliver there is none yet."
        self.write_newest(options, found, name="deliveries", row=_as_json, line=_line, none=nothing)

    def _discard(self, options: dict[str, Any]) -> None:
        if not options["reason"]:
            wrong_usage("--discard needs --reason.")
        if options["subscriber"] not in ("", options["discard"]):
            wrong_usage("--discard names the subscriber already.")
        chosen = {name: options[name] for name in ("state", "error", "order")}
        count = dead_letters.discard(options["discard"], authenticated("discard"), options["reason"], **chosen)
        if not count:
            sys.exit(f"Nothing of {options['discard']} waits for a person. Nothing was done.")
        if options["json"]:
            self.write_json({"decision": "discard", "subscriber": options["discard"], "deliveries": count})
        else:
            self.write_lines(f"{options['discard']}: discard of {count} deliveries is recorded. They are not tried again.")


def _group_line(group: DeliveryGroup) -> str:
    error = " · ".join(filter(None, [group.code, group.error and f"the last: {group.error}"]))
    return f"{group.subscriber} · {group.count} {group.state.label.lower()}{f' · {error}' if error else ''}"


def _line(delivery: Delivery) -> str:
    error = ": ".join(filter(None, [delivery.error_code, delivery.error_message]))
    parts = (
        delivery.fact.order.number,
        delivery.subscriber,
        DeliveryState(delivery.state).label.lower(),
        f"tries: {delivery.tries}",
        error,
    )
    return " · ".join(filter(None, parts))


def _as_json(delivery: Delivery) -> dict[str, Any]:
    names = ("subscriber", "state", "tries", "error_code", "error_message", "failing_since", "wake_at", "delivered_at")
    return {"order": delivery.fact.order.number} | {name: getattr(delivery, name) for name in names}
