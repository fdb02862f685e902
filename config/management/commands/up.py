"""``manage.py up``: the whole shop on this machine, until Ctrl-C."""

import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.stack.errors import StackError
from config.stack.options import StackOptions
from config.stack.stop_signals import handle_signals
from config.stack.stopping import stop_running
from config.stack.supervisor import Stack
from config.stack.terminal import links, options_from_settings

MAINTENANCE = (
    "Maintenance: database, broker, provider sandbox and mail are up; web, workers, sweep, relay and Flower are not. "
    "Now you may run `manage.py recover --restored`, or `manage.py migrate`. To open the shop: stop this, then `make up`."
)


class Command(BaseCommand):
    help = (
        "Run the whole shop: PostgreSQL, Valkey, provider sandbox, mail catcher, workers, loops, web, Flower. "
        "Example: manage.py up, or manage.py up --maintenance, or manage.py up --stop"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stop", nargs="*", type=Path, metavar="FOLDER", help="stop what runs or was left in RUN_DIR, or in these run directories"
        )
        parser.add_argument("--without-flower", action="store_true", help="which only watches")
        parser.add_argument(
            "--maintenance", action="store_true", help="without whoever works on orders: no web, workers, sweep, relay, and no Flower"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["stop"] is None:
                self._run(options_from_settings(not options["without_flower"], options["maintenance"]))
            else:
                self._stop(options["stop"] or [settings.RUN_DIR])
        except StackError as refused:
            sys.exit(str(refused))

    def _stop(self, run_dirs: list[Path]) -> None:
        """Each of them, whatever becomes of the others. What is no folder is left out."""
        stopped, refused = 0, []
        for run_dir in filter(Path.is_dir, run_dirs):
            try:
                message = stop_running(run_dir.resolve())
            except StackError as error:
                refused.append(f"{run_dir}: {error}")
                continue
            if message:
                stopped += 1
                self.report(f"{run_dir}: {message}" if len(run_dirs) > 1 else message)
        if refused:
            raise StackError("\n".join(refused))
        if not stopped:
            self.report("No stack is running in this checkout.")

    def _run(self, wanted: StackOptions) -> None:
        handle_signals()
        try:
            with Stack(wanted, self.report) as stack:
                up = MAINTENANCE if wanted.in_maintenance else f"The shop is open.\n{links(stack.info)}"
                self.report(f"{up}\nLogs are in {settings.RUN_DIR.name}/log. Ctrl-C stops everything.")
                stack.wait()
        except KeyboardInterrupt:
            self.report("Everything is stopped.")

    def report(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            self.stdout.write(line)
            self.stdout.flush()
