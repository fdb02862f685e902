"""``manage.py incidents``: what waits for a person, by cause, most money first."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from fulfillment import recovery
from fulfillment.engine import sentence_with_waiting
from fulfillment.management.operating import OperatorCommand, incident_as_json
from fulfillment.models import Circuit
from fulfillment.recovery import Group
from orders.incidents import Incident, IncidentKind
from orders.text import counted

NOTHING = "Nothing waits for a person."
ORDER, CIRCUIT = "order", "circuit"
COMMANDS: dict[str, str] = {
    IncidentKind.DEAD_LETTER: "deliveries",
    IncidentKind.PROVIDER_DOWN: "circuit",
    IncidentKind.CRASH_LOOP: "doctor",
    IncidentKind.QUEUE_UNSERVED: "doctor",
    IncidentKind.FORGOTTEN_ORDERS: "recover --restored",
    IncidentKind.OVERLOADED: "doctor",
}
RETRIED = (  # trying the order again changes nothing about the others
    *(IncidentKind.COMPENSATION_EXHAUSTED, IncidentKind.IN_DOUBT, IncidentKind.STUCK),
    *(IncidentKind.QUARANTINED, IncidentKind.UNKNOWN_STEP),
)


class Command(OperatorCommand):
    help = "Show what waits for a person, grouped by cause, most money first. Example: manage.py incidents --all"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--all", action="store_true", help="each incident, the snoozed ones included, instead of groups")

    def handle(self, *args: Any, **options: Any) -> None:
        groups, asleep = recovery.groups(), recovery.snoozed()
        listed = [*recovery.awake(), *asleep] if options["all"] else []
        if options["json"]:
            each = {"incidents": [incident_as_json(incident) for incident in listed]} if options["all"] else {}
            self.write_json({"groups": [dataclasses.asdict(group) for group in groups], "snoozed": asleep.count()} | each)
            return
        self.write_lines(*(line for incident in listed for line in _incident_lines(incident)))
        if not options["all"]:
            self.write_lines(*(line for group in groups for line in _group_lines(group)))
        self.write_lines(_last_line(groups, recovery.awake().values("subject").distinct().count(), asleep.count()))


def _group_lines(group: Group) -> Iterator[str]:
    cause = " · ".join(filter(None, (group.kind, group.step, group.code)))
    amount = recovery.amounts(group.at_risk)
    subjects = counted(group.orders, _subject(group))
    yield (
        f"{cause} · {subjects} · {amount + ' at risk' if amount else 'no money at risk'}"
        f" · first {group.first:%Y-%m-%d %H:%M:%S} · last {group.last:%Y-%m-%d %H:%M:%S}"
    )
    yield f"    {_message(group)} Runbook {group.runbook}"
    if advised := _advised(group):
        yield f"    python manage.py {advised}"


def _advised(group: Group) -> str:
    """The command that helps. Empty: no command does, the runbook says more."""
    return f"retry_orders {_filters(group)}" if group.kind in RETRIED else COMMANDS.get(group.kind, "")


def _message(group: Group) -> str:
    """A circuit is a group of its own: since when it is open, how many orders wait, and for how much money."""
    if _subject(group) == CIRCUIT and (circuit := Circuit.objects.filter(pk=group.code).first()):
        return f"{sentence_with_waiting(circuit)}."
    return f"{group.label}."


def _subject(group: Group) -> str:
    """What each incident of this group is about."""
    if group.kind == IncidentKind.PROVIDER_DOWN and not group.step:
        return CIRCUIT
    others: dict[str, str] = {
        IncidentKind.DEAD_LETTER: "subscriber",
        IncidentKind.CRASH_LOOP: "process",
        IncidentKind.QUEUE_UNSERVED: "queue",
    }
    return others.get(group.kind, ORDER)


def _filters(group: Group) -> str:
    given = {"--kind": group.kind, "--step": group.step, "--code": group.code}
    return " ".join(f"{option} {value}" for option, value in given.items() if value)


def _incident_lines(incident: Incident) -> Iterator[str]:
    owner = f" · {incident.owner}" if incident.owner else ""
    asleep = f" · snoozed until {incident.snoozed_until:%Y-%m-%d %H:%M:%S}" if incident.snoozed_until else ""
    yield f"{incident.subject} · {incident.kind} · {incident.sentence} · since {incident.opened_at:%Y-%m-%d %H:%M:%S}{owner}{asleep}"


def _last_line(groups: list[Group], orders: int, asleep: int) -> str:
    """``orders``: how many subjects the group has, also those that are no orders."""
    others: Counter[str] = Counter()
    for group in groups:
        if (what := _subject(group)) != ORDER:
            others[what] += group.orders
    amount = recovery.amounts(*(group.at_risk for group in groups))
    left = orders - sum(others.values())
    subjects = [counted(left, ORDER)] * (left > 0) + [counted(count, what) for what, count in others.items()]
    waits = f"{', '.join(subjects)} in {counted(len(groups), 'group')}, {amount or 'no money'} at risk." if groups else NOTHING
    return waits + (f" {asleep} snoozed (--all lists them)." if asleep else "")
