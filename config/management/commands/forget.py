"""``manage.py forget EMAIL``: the shop forgets a customer, as far as the law lets it."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, authenticated, words, wrong_usage
from orders import erasure
from orders.erasure import Forgotten, UnderWay

KEPT = "Kept, because tax and accounting law ask for it: order numbers, dates, products, amounts, currency, country and state, charges and parcels by reference."
BEYOND = "Not reached from here: the records of the payment provider and of the carrier, mails that were sent, and backups (see docs/personal-data.md)."
SHOWN = 10


class Command(OperatorCommand):
    help = (
        "Pseudonymise a customer in orders, facts, history, deliveries, incidents and the admin's log. Without --yes it only counts. "
        'Example: manage.py forget amara@example.com --yes --reason "asked by mail, ticket 512"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("email", help="whom to forget; - reads it from standard input, so that it stands in no process list")
        parser.add_argument("--yes", action="store_true", help="do it; there is no way back")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later; the address in it is left out")

    def handle(self, *args: Any, **options: Any) -> None:
        email = sys.stdin.readline().strip() if options["email"] == "-" else options["email"].strip()
        if "@" not in email:
            wrong_usage("Whom to forget is an e-mail address.")
        if options["yes"] and not options["reason"]:
            wrong_usage("--yes needs --reason.")
        actor = authenticated("forget") if options["yes"] else None
        try:
            done = erasure.forget(email, actor, options["reason"]) if actor else erasure.preview(email)
        except UnderWay as busy:
            sys.exit(f"Refused: {_first(list(busy.orders))} still needed. {busy}. Nothing was forgotten; ask again when it is at rest.")
        if options["json"]:
            self.tell_json({"orders": done.orders, "touched": dict(done.touched), "written": options["yes"]})
            return
        self.tell(*_lines(done, options["yes"]))


def _lines(done: Forgotten, written: bool) -> list[str]:
    if not done.touched:
        return ["Nobody of this address is known here: nothing is left to forget."]
    counts = [f"  {count:>6} {what}" for what, count in sorted(done.touched.items())]
    of = f" of {_first(done.orders)}" if done.orders else ""
    if not written:
        return [f"Would be pseudonymised{of}:", *counts, KEPT, BEYOND, "Nothing was written. Repeat it with --yes and --reason."]
    return [f"Pseudonymised{of}:", *counts, KEPT, BEYOND]


def _first(numbers: list[str]) -> str:
    left = len(numbers) - SHOWN
    return ", ".join(numbers[:SHOWN]) + (f" and {left} more" if left > 0 else "")
