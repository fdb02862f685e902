"""``manage.py event_schemas``: writes the JSON Schema of each event and the description of the bus, or compares the schemas with those of an earlier commit."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.management import earlier_commit
from orders.api.reference.compatibility import breaks_of_event
from orders.events import EVENTS
from orders.events.schema import file_of, schema_of
from sideeffects.bus import reference

FOLDER, DESCRIPTION = "docs/events", "docs/asyncapi.json"


class Command(BaseCommand):
    help = (
        "Write docs/events/TYPE.vN.json, the schema of each event, and docs/asyncapi.json, as the code has them. With --against, change nothing, and exit 1 if a "
        "schema is not what it was at that commit, and more. Example: manage.py event_schemas --against HEAD^"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--against", metavar="COMMIT", help="a commit, a tag or a branch: compare with it, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["against"]:
            self._compare(options["against"])
            return
        (settings.BASE_DIR / FOLDER).mkdir(exist_ok=True)
        for event in EVENTS:
            path = settings.BASE_DIR / FOLDER / file_of(event)
            path.write_text(json.dumps(schema_of(event), indent=2) + "\n")
        (settings.BASE_DIR / DESCRIPTION).write_text(reference.document())
        self.stdout.write(f"{len(EVENTS)} schemas in {FOLDER}/, and {DESCRIPTION}, are as the code has them")

    def _compare(self, commit: str) -> None:
        """In a clone without its history there is nothing to compare with, and this says so."""
        if not earlier_commit.is_here(commit):
            self.stdout.write(f"{commit} is not here; a shallow clone has no earlier commits. Nothing was compared")
            return
        names = earlier_commit.names_at(commit, FOLDER)
        found = [f"{name}: {line}" for name in names for line in self._breaks(commit, name)]
        for line in found:
            self.stderr.write(line)
        if found:
            raise CommandError(
                f"{len(found)} of the changes since {commit} need a new version of the event; within one, fields are only added, with a default."
            )
        self.stdout.write(f"{len(names)} schemas compared with {commit}: nothing but additions")

    def _breaks(self, commit: str, name: str) -> list[str]:
        path = settings.BASE_DIR / FOLDER / name
        if not path.exists():
            return ["the schema is gone; a reader of a recorded payload needs it"]
        return list(breaks_of_event(json.loads(earlier_commit.text_at(commit, f"{FOLDER}/{name}") or "{}"), json.loads(path.read_text())))
