"""``manage.py why ORD-…``: why an order is where it is, and what may be decided about it. Each decision is a line to paste."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.explanation import Explanation, explain
from fulfillment.management.operating import OperatorCommand, find_order, incident_as_json
from fulfillment.recovery import Choice
from orders.incidents import Incident
from orders.money import money


class Command(OperatorCommand):
    help = "Say why an order is where it is, and what may be decided about it. Example: manage.py why ORD-1043"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("order", help="its number, like ORD-1043")

    def handle(self, *args: Any, **options: Any) -> None:
        order = find_order(options["order"])
        told = explain(order)
        if options["json"]:
            self.tell_json({"order": order.number, "status": order.status} | _as_json(told, order.number))
        else:
            self.tell(f"{order.number}  {order.get_status_display()}  {money(order.total_minor, order.currency)}")
            self.tell(*_lines(told, order.number))


def _lines(told: Explanation, number: str) -> Iterator[str]:
    yield told.sentence
    yield f"  since       {_instant(told.since)}"
    yield f"  next look   {_instant(told.next_at)}"
    yield f"  blocked on  {told.blocked_on or 'nothing'}"
    yield f"  version     {told.version}"
    for incident in told.incidents:
        yield from _incident_lines(incident)
    if told.choices:
        yield "  choices"
    for choice in told.choices:
        yield f"    {choice.label}" + (f" ({choice.warns})" if choice.warns else "")
        yield f"      {choice.command(number, told.version)}"


def _incident_lines(incident: Incident) -> Iterator[str]:
    cared = f", {incident.owner} takes care of it" if incident.owner else ""
    asleep = f", snoozed until {_instant(incident.snoozed_until)}" if incident.snoozed_until and incident.state == "snoozed" else ""
    yield f"  incident    {incident.sentence}{cared}{asleep}"
    yield f"              since {_instant(incident.opened_at)}, runbook {incident.runbook}"
    if incident.proposal:
        amount = money(incident.proposal["amount_minor"], incident.currency)
        yield f"              {incident.proposal['actor']} proposes: {incident.proposal['verb']} of {amount}; a second person must ask for the same"


def _instant(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC" if instant else "–"


def _as_json(told: Explanation, number: str) -> dict[str, Any]:
    return {
        "sentence": told.sentence,
        "since": told.since,
        "next_at": told.next_at,
        "blocked_on": told.blocked_on,
        "version": told.version,
        "runbook": told.runbook,
        "incidents": [incident_as_json(incident) for incident in told.incidents],
        "choices": [_choice(choice, number, told.version) for choice in told.choices],
    }


def _choice(choice: Choice, number: str, version: int) -> dict[str, Any]:
    line = choice.command(number, version)
    return {
        "verb": choice.verb,
        "label": choice.label,
        "needs": choice.needs,
        "warns": choice.warns,
        "amount_minor": choice.amount_minor,
        "command": line,
    }
