"""What the operators' commands share: they refuse wrong wiring, authenticate who decides, read an order's number, and can answer with one JSON document."""

import json
import os
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from getpass import GetPassWarning, getpass
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import ProgrammingError
from django.db.models import QuerySet

from orders import operators, refusals
from orders.incidents import Incident
from orders.models import Order
from orders.numbers import NUMBER, PREFIX
from orders.operators import Actor, Refused
from orders.refusals import RefusedAttempt
from orders.text import sanitized

WRONG_USAGE = 2
SHOWN = 50  # rows of a list
PLACEHOLDERS = ("", "…", "...")
NOBODY = "Who decides? Put your operator token into OPERATOR_TOKEN, or run this on a terminal, which asks for it. `manage.py operator_token create NAME` makes one."


class OperatorCommand(BaseCommand):
    """Exit 0: done; 1: failed or refused, with the sentence on stderr; 2: wrong usage. Without a database it does not start."""

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """Runs the database's checks too: they say how to get a database."""
        return super().get_check_kwargs(options) | {"databases": ["default"]}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Refused as refused:
            sys.exit(str(refused))
        except ProgrammingError as foreign:
            sys.exit(f"The database is not the shop's, or is older than this code: {foreign}\n→ python manage.py migrate")
        except BrokenPipeError:  # whoever read the lines has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    def write_lines(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)

    def write_json(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, cls=DjangoJSONEncoder, ensure_ascii=False))

    def write_newest(
        self, options: dict[str, Any], rows: QuerySet[Any], *, name: str, row: Callable[[Any], Any], line: Callable[[Any], str], none: str
    ) -> None:
        """The first of ``rows``, and whether there are more. ``none``: what to say if there is no row."""
        shown = list(rows[: SHOWN + 1])
        if options["json"]:
            self.write_json({name: [row(one) for one in shown[:SHOWN]], "more": len(shown) > SHOWN})
            return
        self.write_lines(*map(line, shown[:SHOWN]))
        if not shown:
            self.write_lines(none)
        elif len(shown) > SHOWN:
            self.write_lines(f"The newest {SHOWN} are shown; there are more.")


class OrderCommand(OperatorCommand):
    """About one order, whose number comes first."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("order", type=order_number, help="its number, like ORD-1043")


def authenticated(verb: str) -> Actor:
    """The operator whose token was given. Exit 2: none was given. Exit 1: the token is not known, and the attempt is in the audit log."""
    token = settings.OPERATOR_TOKEN or hidden("Operator token: ")
    if not token:
        wrong_usage(NOBODY)
    try:
        with refusals.recorded(None, verb, operators.prefix_of(token)):
            return operators.by_token(token)
    except Refused as refused:
        sys.exit(f"{refused} Nothing was done.")


def hidden(prompt: str) -> str:
    """A password that is typed on a terminal and not shown. Empty: there is no terminal, or none that can hide it."""
    if not sys.stdin.isatty():
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return getpass(prompt).strip()
        except (GetPassWarning, EOFError):
            return ""


def order_number(text: str) -> str:
    """The number of an order, as a person types it: 1043 is ORD-1043."""
    return f"{PREFIX}{text}" if NUMBER.fullmatch(f"{PREFIX}{text}") else text


def find_order(number: str) -> Order:
    """The order, with its incidents. Exit 1: there is no such order."""
    order = Order.objects.prefetch_related("incidents").filter(number=number).first()
    if order is None:
        hint = "" if NUMBER.fullmatch(number) else f" A number looks like {PREFIX}1043."
        sys.exit(f"There is no order {number}.{hint}")
    return order


def incident_as_json(incident: Incident) -> dict[str, Any]:
    names = ("kind", "step", "code", "sentence", "amount_minor", "currency", "state", "owner", "snoozed_until", "opened_at", "proposal")
    return {"order": incident.subject} | {name: getattr(incident, name) for name in names} | {"runbook": incident.runbook}


def attempt_as_json(attempt: RefusedAttempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in ("at", "user", "actor", "verb", "subject", "sentence")}


def wrong_usage(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(WRONG_USAGE)


def words(text: str) -> str:
    """An argument that a person must fill in. The placeholder of a pasted line is refused. Nothing in it steers the terminals of those who read it."""
    if text.strip() in PLACEHOLDERS:
        raise ArgumentTypeError("replace … with your own words")
    return sanitized(text.strip(), len(text))


def instant(text: str) -> datetime:
    """An instant in ISO 8601. Without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no instant: write it like 2026-11-27T04:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
