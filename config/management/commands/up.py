"""``manage.py up``: the whole shop on this machine, until Ctrl-C."""

import signal
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.stack.supervisor import STOP_SIGNALS, Stack, StackError, StackOptions, stop_running


def options_from_settings(with_flower: bool = True) -> StackOptions:
    return StackOptions(
        folder=settings.BASE_DIR,
        run_dir=settings.RUN_DIR,
        time_scale=settings.TIME_SCALE,
        database_url=settings.EXTERNAL_DATABASE_URL,
        broker_url=settings.EXTERNAL_BROKER_URL,
        web_port=settings.WEB_PORT,
        flower_port=settings.FLOWER_PORT,
        sandbox_port=settings.SANDBOX_PORT,
        mail_port=settings.MAIL_PORT,
        with_flower=with_flower,
    )


def heed_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal mean the same: stop in order. What the caller's shell lets us ignore (``nohup``, ``&``) stays ignored."""
    for number in STOP_SIGNALS:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """The first one counts: make and the terminal may both send theirs, and a second one must not interrupt the stopping."""
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def links(info: dict[str, Any]) -> str:
    admin, flower = info["admin"], info["flower_login"]
    lines = [
        f"  Admin    {info['web']}/admin/   user {admin['username']}, password {admin['password']}",
        f"  Operator OPERATOR_TOKEN={info['operator_token']}   for manage.py decide and the like",
        f"  API      {info['api']}/orders   Authorization: Token {info['token']}",
        f"  Ledger   {info['sandbox']}/ledger   (the provider's own)",
    ]
    if info["flower"]:
        lines.append(f"  Flower   {info['flower']}   user {flower['username']}, password {flower['password']}")
    return "\n".join(lines)


class Command(BaseCommand):
    help = "Run the whole shop: PostgreSQL, Valkey, provider sandbox, mail catcher, workers, loops, web, Flower. Example: manage.py up, or manage.py up --stop"
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stop", nargs="*", type=Path, metavar="FOLDER", help="stop what runs or was left in RUN_DIR, or in these run directories"
        )
        parser.add_argument("--without-flower", action="store_true", help="which only watches")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["stop"] is None:
                self._run(with_flower=not options["without_flower"])
            else:
                self._stop(options["stop"] or [settings.RUN_DIR])
        except StackError as refused:
            sys.exit(str(refused))

    def _stop(self, run_dirs: list[Path]) -> None:
        """Each of them, whatever becomes of the others. What is no folder is left out."""
        stopped, refused = 0, []
        for run_dir in filter(Path.is_dir, run_dirs):
            try:
                told = stop_running(run_dir.resolve())
            except StackError as error:
                refused.append(f"{run_dir}: {error}")
                continue
            if told:
                stopped += 1
                self.tell(f"{run_dir}: {told}" if len(run_dirs) > 1 else told)
        if refused:
            raise StackError("\n".join(refused))
        if not stopped:
            self.tell("No stack is running in this checkout.")

    def _run(self, with_flower: bool) -> None:
        heed_signals()
        try:
            with Stack(options_from_settings(with_flower), self.tell) as stack:
                self.tell(f"The shop is open.\n{links(stack.info)}\nLogs are in {settings.RUN_DIR.name}/log. Ctrl-C stops everything.")
                stack.wait()
        except KeyboardInterrupt:
            self.tell("Everything is stopped.")

    def tell(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            self.stdout.write(line)
            self.stdout.flush()
