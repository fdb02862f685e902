"""``manage.py refused``: what was tried and not allowed, newest first: about which order, by whom, and why it was refused."""

from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, attempt_as_json
from orders.refusals import RefusedAttempt


class Command(OperatorCommand):
    help = (
        "Show the newest attempts to decide that were refused, tokens that are not known included. Example: manage.py refused --user amara"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user", default="", help="of this user alone")
        parser.add_argument("--subject", default="", help="about this one alone: an order, a circuit, a subscriber, the prefix of a token")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {"actor": options["user"], "subject": options["subject"]}
        found = RefusedAttempt.objects.filter(**{name: value for name, value in wanted.items() if value})
        self.write_newest(options, found, name="refused", row=attempt_as_json, line=_line, none="Nothing was refused.")


def _line(attempt: RefusedAttempt) -> str:
    about = f" · {attempt.subject}" if attempt.subject else ""
    return f"{attempt.at:%Y-%m-%d %H:%M:%S} · {attempt.actor or 'nobody known'} · {attempt.verb}{about} · {attempt.sentence}"
