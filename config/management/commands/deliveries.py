"""``manage.py deliveries``: side effects that wait for a person, and what the person decides about them."""

import dataclasses
import sys
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, words, wrong_usage
from sideeffects import people, relay
from sideeffects.people import DECISIONS, Pile


class Command(OperatorCommand):
    help = (
        "Show dead letters and what is held for a subscriber that is gone; with --retry or --discard, decide about one subscriber's. "
        'Example: manage.py deliveries --retry email --actor amara --reason "the mail server is back"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        decision = parser.add_mutually_exclusive_group()
        decision.add_argument("--retry", metavar="SUBSCRIBER", help="with fresh tries")
        decision.add_argument("--discard", metavar="SUBSCRIBER", help="for good: the effect will not happen")
        parser.add_argument("--order", default="", help="of this order alone")
        parser.add_argument("--actor", type=words, help="who decides")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")

    def handle(self, *args: Any, **options: Any) -> None:
        decision = next((word for word in DECISIONS if options[word]), "")
        if decision:
            self._decide(decision, options)
            return
        piles, waiting = people.piles(), relay.waiting()
        if options["json"]:
            self.tell_json({"waiting": waiting, "for_a_person": [dataclasses.asdict(pile) for pile in piles]})
            return
        self.tell(*(_line(pile) for pile in piles), f"{waiting} on their way, {sum(pile.count for pile in piles)} wait for a person.")

    def _decide(self, decision: str, options: dict[str, Any]) -> None:
        if not (options["actor"] and options["reason"]):
            wrong_usage(f"--{decision} needs --actor and --reason.")
        subscriber = options[decision]
        if not any(pile.subscriber == subscriber for pile in people.piles()):
            sys.exit(f"Nothing of {subscriber} waits for a person. Nothing was done.")
        count = people.decide(decision, subscriber, options["actor"], options["reason"], options["order"])
        if options["json"]:
            self.tell_json({"decision": decision, "subscriber": subscriber, "deliveries": count})
        else:
            follows = "The relay publishes them within a second." if decision == "retry" else "They are not tried again."
            self.tell(f"{subscriber}: {decision} of {count} deliveries is recorded. {follows}")


def _line(pile: Pile) -> str:
    error = f" · the last: {pile.error}" if pile.error else ""
    return f"{pile.subscriber} · {pile.count} {pile.state.label.lower()}{error}"
