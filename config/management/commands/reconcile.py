"""``manage.py reconcile``: does the journal agree with the provider's ledger and the stock?"""

import dataclasses
import json
import sys
from argparse import ArgumentParser
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand

from config import invariants
from config.checks import refuse_to_start


class Command(BaseCommand):
    help = "Check the invariants of docs/semantics.md on live data and against the provider's ledger. Example: manage.py reconcile --json. Exit 1: something is off."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object: judged, open, findings")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_to_start("reconcile")
        try:
            report = invariants.examine(invariants.read_ledger(settings.SANDBOX_URL))
        except httpx.HTTPError as silent:
            sys.exit(f"The provider at {settings.SANDBOX_URL} does not answer: {silent}")
        if options["json"]:
            self.stdout.write(json.dumps(dataclasses.asdict(report)))
        else:
            for finding in report.findings:
                self.stdout.write(f"{finding.subject}: {finding.invariant}: {finding.found}")
            self.stdout.write(f"{report.judged} orders judged, {report.open} still open, {len(report.findings)} findings")
        if report.findings:
            sys.exit(1)
