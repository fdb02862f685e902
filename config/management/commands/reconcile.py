"""``manage.py reconcile``: does every order at rest agree with what its providers list, and with itself?"""

import json
import sys
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from config.checks import refuse_to_start
from config.management.progress import progress
from fulfillment.management.numbers import above_zero
from fulfillment.reconciliation import Report, reconcile
from orders.turns import TurnLost
from sideeffects import subscriber_audits

A_CENTURY_H = 24 * 366 * 100


class Command(BaseCommand):
    help = (
        "Check the invariants of docs/semantics.md on live data and against what the providers list. Differences become incidents; what landed after its "
        "undo is undone. Example: manage.py reconcile --since 48. Exit 1: something is off, or a provider does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            type=partial(above_zero, most=A_CENTURY_H),
            metavar="HOURS",
            help="only orders placed in the last HOURS (default: all)",
        )
        parser.add_argument("--no-repair", action="store_true", help="report and open incidents only; undo nothing")
        parser.add_argument(
            "--json",
            action="store_true",
            help="one JSON object: judged, open, waiting, gone, silent, unreadable, entries, repaired, money, findings",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_to_start("reconcile")
        try:
            with progress("asking the providers") as watch:
                report = reconcile(options["since"], not options["no_repair"], watch, subscriber_audits)
        except TurnLost as lost:
            sys.exit(str(lost))
        self.stdout.write(json.dumps(report.as_json()) if options["json"] else _text(report))
        if report.findings:
            sys.exit(1)


def _text(report: Report) -> str:
    """One line for each finding; the last line but one says where the money is, the last one counts."""
    lines = [finding.sentence for finding in report.findings]
    if report.gone:
        lines.append(f"{report.gone} orders could not be judged: this code no longer knows a provider that their plans name")
    if report.silent:
        lines.append(f"{report.silent} orders could not be judged: a provider of theirs does not list what it holds")
    return "\n".join([*lines, report.money_sentence, report.sentence])
