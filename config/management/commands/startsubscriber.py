"""``manage.py startsubscriber``: writes the folder of a new subscriber, with a test that says what is still to be written."""

import keyword
import re
from argparse import ArgumentParser
from dataclasses import MISSING, fields
from pathlib import Path
from string import Template
from typing import Any, get_type_hints

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orders.events import EVENTS, Event, Line, event_class
from sideeffects import discovery

NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
# A value of each kind of field, for the event of the test.
SAMPLES: dict[Any, Any] = {
    str: "EUR",
    int: 1,
    bool: False,
    int | None: 8420,
    tuple[Line, ...]: (Line(sku="TENT-2P-GRN", quantity=1, unit_price_minor=8420),),
}
NAMED = {
    "number": "ORD-1043",
    "total_minor": 8420,
    "amount_minor": 8420,
    "tracking": "TRK-77",
    "fulfilled_on": "2026-11-28",
    "reason": "payment_failed",
    "kind": "stuck",
}

APPS = Template("""\
from django.apps import AppConfig


class ${camel}Config(AppConfig):
    name = "sideeffects.subscribers.$name"
    label = "sideeffects_$name"
""")
SUBSCRIBER = Template('''\
"""$title: what it does for each $type."""

from orders.events import $event, subscriber
from sideeffects.models import Delivery


@subscriber($event, timeout_s=10)
def $name(event: $event, delivery: Delivery) -> None:
    """What it writes to our own rows commits together with "delivered", so it happens once for each event."""
    raise NotImplementedError("Write what $name does for an event here: sideeffects/subscribers/$name/subscriber.py")
''')
TEST = Template('''\
"""Promise: what $name does happens once for each $type."""

import pytest

from orders.events import $imports
from orders.facts import Fact
from sideeffects.models import Delivery
from sideeffects.subscribers.$name.subscriber import $name

EVENT = $sample


@pytest.mark.django_db
def test_an_event_has_its_effect() -> None:
    fact = Fact(id=EVENT.fact_id, type=EVENT.type, version=EVENT.version, payload=EVENT.to_json())

    $name(EVENT, Delivery(subscriber="$name", fact=fact))

    pytest.fail("Say here what is there now: sideeffects/subscribers/$name/test_$name.py")
''')


class Command(BaseCommand):
    help = (
        "Write the folder of a new subscriber: it is discovered at the next start, and nothing else need be touched. Its test fails until it says what the "
        "subscriber does. Example: manage.py startsubscriber survey --event order.fulfilled"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="of the subscriber: a word of small letters, like survey")
        parser.add_argument("--event", default="order.fulfilled", help="the type of event to which it reacts (default order.fulfilled)")

    def handle(self, *args: Any, **options: Any) -> None:
        name, event = options["name"], event_class(options["event"])
        if event is None:
            raise CommandError(
                f"There is no event {options['event']}. There are: {', '.join(known.type for known in EVENTS)}. Nothing was done."
            )
        if not NAME.fullmatch(name) or keyword.iskeyword(name):
            raise CommandError(
                f"{name!r} is no name of a subscriber: 2 to 40 small letters, digits and _, the first a letter. Nothing was done."
            )
        folder = Path(settings.SUBSCRIBERS_DIR) / name
        if name in discovery.names() or folder.exists():
            raise CommandError(f"There is a subscriber {name} already: sideeffects/subscribers/{name}. Nothing was done.")
        folder.mkdir()
        for file, text in _files(name, event).items():
            (folder / file).write_text(text)
        self.stdout.write(
            f"sideeffects/subscribers/{name}/ is there. Next: write what it does in subscriber.py, then run\n"
            f"    python -m pytest -n 0 sideeffects/subscribers/{name}\n"
            "docs/add-a-subscriber.md says what else it may have, and how it is owed events of the past."
        )


def _files(name: str, event: type[Event]) -> dict[str, str]:
    sample = _sample(event)
    imports = ", ".join(sorted({event.__name__, *(["Line"] if "Line(" in sample else [])}))
    words = {
        "name": name,
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "type": event.type,
        "event": event.__name__,
        "imports": imports,
        "sample": sample,
    }
    texts = {"apps.py": APPS, "subscriber.py": SUBSCRIBER, f"test_{name}.py": TEST}
    return {"__init__.py": f'"""The subscriber {name}. What it may import, and what must stay: ``sideeffects.subscribers``."""\n'} | {
        file: template.substitute(words) for file, template in texts.items()
    }


def _sample(event: type[Event]) -> str:
    """The call that makes one, as Python."""
    hints = get_type_hints(event)
    values = {field.name: NAMED.get(field.name, SAMPLES[hints[field.name]]) for field in fields(event) if field.default is MISSING}
    words = "".join(f"    {name}={value!r},\n" for name, value in values.items())
    return f"{event.__name__}(\n{words})".replace("'", '"')
