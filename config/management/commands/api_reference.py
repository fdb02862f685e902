"""``manage.py api_reference``: writes what the reference of the API is made of, or compares it with that of an earlier commit."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.management import earlier_commit
from orders.api.reference.compatibility import breaks
from orders.api.reference.document import made_from_the_code
from orders.api.reference.problem_table import with_tables

ERRORS_PAGE = settings.BASE_DIR / "docs" / "errors.md"


class Command(BaseCommand):
    help = (
        "Write docs/openapi.json and the tables of docs/errors.md, as the code has them; with --against, change nothing and exit 1 if docs/openapi.json takes away "
        "something that it had at that commit. Example: manage.py api_reference --against HEAD^"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--against", metavar="COMMIT", help="a commit, a tag or a branch: compare with it, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["against"]:
            self._compare(options["against"])
            return
        settings.REFERENCE_FILE.write_text(made_from_the_code())
        ERRORS_PAGE.write_text(with_tables(ERRORS_PAGE.read_text()))
        self.stdout.write("docs/openapi.json and docs/errors.md are as the code has them")

    def _compare(self, commit: str) -> None:
        before = self._reference_at(commit)
        if before is None:
            self.stdout.write(f"{commit} has no docs/openapi.json: nothing to compare with")
            return
        after = json.loads(settings.REFERENCE_FILE.read_text())
        found = list(breaks(before, after))
        for line in found:
            self.stderr.write(line)
        if found:
            raise CommandError(
                f"{len(found)} of the changes since {commit} would break a client; within a version only additions are allowed."
            )
        operations = sum(len(methods) for methods in before["paths"].values())
        self.stdout.write(f"{operations} operations compared with {commit}: nothing was taken away")

    def _reference_at(self, commit: str) -> dict[str, Any] | None:
        """Raises CommandError: there is no such commit, as in a clone without its history."""
        if not earlier_commit.is_here(commit):
            raise CommandError(f"{commit} is not here; a shallow clone has no earlier commits.")
        shown = earlier_commit.text_at(commit, "docs/openapi.json")
        return None if shown is None else json.loads(shown)
