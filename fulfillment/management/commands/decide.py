"""``manage.py decide ORD-… VERB``: one decision of a person about one order. Given twice, it is done once. About an order that has moved on it is refused."""

import dataclasses
from typing import Any

from django.core.management.base import CommandParser

from fulfillment import recovery
from fulfillment.explanation import explain
from fulfillment.management.operating import OrderCommand, authenticated, find_order, instant, words
from fulfillment.recovery import VERBS, Request


class Command(OrderCommand):
    help = (
        "Decide about an order, as `manage.py why` offers it. Your operator token says who you are, in OPERATOR_TOKEN or typed when asked. "
        'Example: manage.py decide ORD-1043 retry --version 5120 --reason "the provider is back"'
    )

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Here ``--version`` is the version of the order, not that of Django."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **options)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("verb", choices=sorted(VERBS), help="what to do; `manage.py why` shows which are legal")
        parser.add_argument("--version", type=int, required=True, help="the order's version that you have seen")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later; most verbs need one")
        parser.add_argument("--evidence", type=words, help="where it can be looked up: a provider's reference, a ticket")
        parser.add_argument("--amount-minor", type=int, help="in the minor units of the order's currency: 8420 for €84.20")
        parser.add_argument("--owner", type=words, help="for assign: who takes care of it")
        parser.add_argument("--until", type=instant, help="for snooze: ISO 8601, UTC where no offset is given")

    def handle(self, *args: Any, **options: Any) -> None:
        order = find_order(options["order"])
        given = {field.name: options[field.name] for field in dataclasses.fields(Request) if field.name != "actor"}
        request = Request(actor=authenticated(options["verb"]), **{name: value for name, value in given.items() if value is not None})
        answer = recovery.decide(request)
        if options["json"]:
            self.write_json(
                {"order": request.order, "verb": request.verb, "version": recovery.version_of(order.pk)} | dataclasses.asdict(answer)
            )
            return
        self.write_lines(answer.sentence)
        if answer.outcome == "proposed":
            self.write_lines(*_for_the_second_person(request))


def _for_the_second_person(request: Request) -> list[str]:
    explanation = explain(find_order(request.order))
    return [
        f"→ {choice.command(request.order, explanation.version, request.amount_minor)}"
        for choice in explanation.choices
        if choice.verb == request.verb
    ]
