"""What the operators' commands share: wrong wiring is refused, an unknown order is named, and everything can be had as one JSON document."""

import json
import os
import sys
from argparse import ArgumentTypeError
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import ProgrammingError

from orders.attention import Incident
from orders.models import Order

WRONG_USAGE = 2
PLACEHOLDERS = ("", "…", "...")


class OperatorCommand(BaseCommand):
    """Exit 0: done; 1: failed or refused, with the sentence on stderr; 2: wrong usage. Without a database it does not start."""

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """The database's checks too: they say how to get one."""
        return super().get_check_kwargs(options) | {"databases": ["default"]}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except ProgrammingError as foreign:
            sys.exit(f"The database is not the shop's, or is older than this code: {foreign}\n→ python manage.py migrate")
        except BrokenPipeError:  # whoever read the lines has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    def tell(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)

    def tell_json(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, cls=DjangoJSONEncoder, ensure_ascii=False))


def find_order(number: str) -> Order:
    """With its incidents. Exit 1: there is none."""
    order = Order.objects.prefetch_related("incidents").filter(number=number).first()
    if order is None:
        sys.exit(f"There is no order {number}.")
    return order


def incident_as_json(incident: Incident) -> dict[str, Any]:
    names = ("kind", "step", "code", "sentence", "amount_minor", "currency", "state", "owner", "snoozed_until", "opened_at", "proposal")
    return {"order": incident.subject} | {name: getattr(incident, name) for name in names} | {"runbook": incident.runbook}


def wrong_usage(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(WRONG_USAGE)


def words(text: str) -> str:
    """An argument that a person must fill in: what a pasted line holds in its place is refused."""
    if text.strip() in PLACEHOLDERS:
        raise ArgumentTypeError("replace … with your own words")
    return text.strip()


def rate(text: str) -> float:
    """So many a second."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1000:
        raise ArgumentTypeError(f"{text} is no rate: above 0, at most 1000 a second")
    return found
