"""``manage.py subscribers``: who reacts to which events, and how far each of them is."""

from typing import Any

from fulfillment.management.operating import OperatorCommand
from orders.text import counted
from sideeffects import subscriber_states
from sideeffects.subscriber_states import SubscriberLine


class Command(OperatorCommand):
    help = (
        "Show each subscriber: the events that it reacts to, from which number on it is owed them, what waits, and what waits for a person. "
        "Example: manage.py subscribers --json"
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = subscriber_states.lines()
        if options["json"]:
            self.write_json({"subscribers": [line.as_json() for line in found]})
            return
        self.write_lines(*map(_line, found))
        if not found:
            self.write_lines("There is no subscriber yet: the relay records them when it starts.")


def _line(line: SubscriberLine) -> str:
    parts = [
        line.name,
        line.state,
        f"{', '.join(line.types) or 'nothing'} from {line.starts_at} on",
        f"{counted(line.waiting, 'delivery', 'wait')}",
        f"{counted(line.for_a_person, 'delivery', 'wait')} for a person" if line.for_a_person else "",
        "its service does not answer" if line.is_circuit_open else "",
        "" if line.is_known else "no code here knows it",
    ]
    return " · ".join(filter(None, parts))
