"""``manage.py circuit``: which providers are out, and who waits for them. A person may hold a circuit open, or release it."""

from typing import Any

from django.core.management.base import CommandParser

from fulfillment.engine import sentence_with_waiting
from fulfillment.management.operating import OperatorCommand, authenticated, words, wrong_usage
from fulfillment.models import Circuit
from fulfillment.recovery import circuits
from orders.incidents import RUNBOOKS, IncidentKind

RUNBOOK = f"{RUNBOOKS}/{IncidentKind.PROVIDER_DOWN}.md"
VERBS = {"hold": circuits.hold, "release": circuits.release}


class Command(OperatorCommand):
    help = (
        "Show the circuits to the providers; hold one open (nothing is asked there any more, orders wait), or release it. "
        'Example: manage.py circuit hold payments.sandbox.do --reason "the bank has asked us to stop"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("verb", nargs="?", choices=[*VERBS, "list"], default="list", help="list (default), hold or release")
        parser.add_argument("name", nargs="?", default="", help="like payments.sandbox.do")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            self._list(options["json"])
            return
        if not (options["name"] and options["reason"]):
            wrong_usage(f"circuit {options['verb']} needs a name and --reason. Names: {', '.join(circuits.names())}.")
        actor = authenticated(options["verb"])
        message = VERBS[options["verb"]](options["name"], actor, options["reason"])
        self.write_json({"message": message}) if options["json"] else self.write_lines(message)

    def _list(self, as_json: bool) -> None:
        known = {circuit.name: circuit for circuit in Circuit.objects.all()}
        shown = [known.get(name) or Circuit(name=name) for name in sorted({*known, *circuits.names()})]
        if as_json:
            self.write_json([_as_json(circuit) for circuit in shown])
        else:
            self.write_lines(*(_line(circuit) for circuit in shown if circuit.name in known or circuit.is_open))
            self.write_lines(f"{sum(circuit.is_open for circuit in shown)} of {len(shown)} circuits are open.")


def _line(circuit: Circuit) -> str:
    if not circuit.is_open:
        return f"{circuit.name} · closed"
    return f"{circuit.name} · {circuit.state} · {sentence_with_waiting(circuit)}. Runbook {RUNBOOK}"


def _as_json(circuit: Circuit) -> dict[str, Any]:
    names = ("name", "state", "opened_at", "next_probe_at", "failed_probes", "held_by", "reason", "last_error")
    return {name: getattr(circuit, name) for name in names} | {
        "sentence": sentence_with_waiting(circuit) if circuit.is_open else "",
        "runbook": RUNBOOK,
    }
