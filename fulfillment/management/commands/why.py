"""``manage.py why ORD-…``: why an order is where it is, and what may be decided about it. Each decision is a line to paste."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fulfillment.explanation import Explanation, explain
from fulfillment.management.operating import OrderCommand, find_order, incident_as_json
from fulfillment.recovery import Choice
from orders.incidents import Incident
from orders.money import money


class Command(OrderCommand):
    help = "Say why an order is where it is, and what may be decided about it. Example: manage.py why ORD-1043"

    def handle(self, *args: Any, **options: Any) -> None:
        order = find_order(options["order"])
        explanation = explain(order)
        if options["json"]:
            self.write_json({"order": order.number, "status": order.status} | _as_json(explanation, order.number))
        else:
            self.write_lines(f"{order.number}  {order.get_status_display()}  {money(order.total_minor, order.currency)}")
            self.write_lines(*_lines(explanation, order.number))


def _lines(explanation: Explanation, number: str) -> Iterator[str]:
    yield explanation.sentence
    yield f"  since       {_instant(explanation.since)}"
    yield f"  next at     {_instant(explanation.next_at)}"
    yield f"  blocked on  {explanation.blocked_on or 'nothing'}"
    yield f"  version     {explanation.version}"
    if explanation.history_pruned_at:
        yield f"  history     removed {_instant(explanation.history_pruned_at)}, except for what people have decided (docs/retention.md)"
    for incident in explanation.incidents:
        yield from _incident_lines(incident)
    if explanation.choices:
        yield "  choices"
    for choice in explanation.choices:
        yield f"    {choice.label}" + (f" ({choice.warns})" if choice.warns else "")
        yield f"      {choice.command(number, explanation.version)}"


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


def _as_json(explanation: Explanation, number: str) -> dict[str, Any]:
    return {
        "sentence": explanation.sentence,
        "since": explanation.since,
        "next_at": explanation.next_at,
        "blocked_on": explanation.blocked_on,
        "version": explanation.version,
        "history_pruned_at": explanation.history_pruned_at,
        "runbook": explanation.runbook,
        "incidents": [incident_as_json(incident) for incident in explanation.incidents],
        "choices": [_choice(choice, number, explanation.version) for choice in explanation.choices],
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
