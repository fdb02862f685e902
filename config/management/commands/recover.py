"""``manage.py recover --restored``: the way forward after the database has lost its last commits."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.checks import refuse_to_start
from config.management.progress import progress
from fulfillment.reconciliation import restored

ON_A_STACK = " On a stack of `manage.py up`: stop it, then `manage.py up --maintenance`."  # stopped as a whole, it has no database


class Command(BaseCommand):
    help = (
        "After a restored backup, or a failover to a replica that lacked the last commits, and before anything of the shop is started: compares open orders with "
        "what the providers list, and shows every difference with its amount. With --yes the shop goes on: open orders under keys and epochs that nobody has used, "
        "orders that only a provider knows as incidents, new orders under numbers that were never issued. Moves no money. "
        "Example: manage.py recover --restored, then again with --yes. Exit 1: nothing was done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--restored", action="store_true", required=True, help="the database is older than what the providers know")
        parser.add_argument("--yes", action="store_true", help="do it; without it, only show what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_to_start("recover")
        try:
            with progress("asking the providers") as watch:
                found = restored.find(watch)
                self._show(found)
                if options["yes"]:
                    restored.recover(found, watch)
        except restored.StillAtWork as why:
            sys.exit(f"{why}{'' if settings.EXTERNAL_DATABASE_URL else ON_A_STACK}")
        except restored.NotNow as why:
            sys.exit(str(why))
        self.stdout.write(_end(found, options["yes"]))

    def _show(self, found: restored.Recovery) -> None:
        for one in found.needs_person:
            self.stdout.write(one.sentence)
        for finding in found.unknown:
            self.stdout.write(finding.sentence)


def _end(found: restored.Recovery, is_done: bool) -> str:
    lost = found.forgotten
    goes_on = len(found.open_orders) - len(found.waiting) - len(found.needs_person)
    counts = (
        f"{len(found.open_orders)} open orders: {goes_on} go on by themselves, {len(found.waiting)} wait for a person as before, "
        f"{len(found.needs_person)} become a person's; "
        f"{len(lost.orders)} orders are known to providers only{f': {lost.sentence}' if lost.orders else ''}."
    )
    if is_done:
        return f"{counts}\nDone. Start the shop, then see what waits for a person: python manage.py incidents"
    return f"{counts}\nNothing was done. To go on: python manage.py recover --restored --yes"
