"""``manage.py demo``: the main job. Starts everything, places forty orders, meddles with some, shows what became of them, and checks the invariants."""

import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

from config.management.progress import bars
from config.stack import demo_stories
from config.stack.demo_stories import STORIES, Placed
from config.stack.errors import StackError
from config.stack.stop_signals import handle_signals
from config.stack.supervisor import Stack
from config.stack.terminal import links, options_from_settings
from orders.management.placing_client import ShopClient

REST_WITHIN_S = 120.0
WIDTH = 110


class Command(BaseCommand):
    help = "Show the main job on this machine: 40 orders, eleven stories, one killed worker, checked against the provider's ledger. Example: manage.py demo --seed 7"
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=7, help="the same seed places the same orders (default 7)")

    def handle(self, *args: Any, **options: Any) -> None:
        handle_signals()
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        well: bool | None = None
        try:
            with Stack(options_from_settings(), lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)) as stack:
                well = Demo(stack, console).run(options["seed"])
                console.print(f"\n{links(stack.info)}", highlight=False, markup=False, soft_wrap=True)
                if sys.stdout.isatty() and sys.stdin.isatty():
                    console.print("\nThe shop stays open. Ctrl-C stops everything.")
                    stack.wait()
        except StackError as refused:
            sys.exit(str(refused))
        except KeyboardInterrupt:
            if well is None:
                sys.exit("Interrupted: everything is stopped.")
            console.print("Everything is stopped.")
        if not well:
            sys.exit("The demo found something wrong, see above.")


class Demo:
    """One showing against a running stack. ``run`` says whether everything that it claims is true."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack = stack
        self.console = console
        self.shop = ShopClient(stack.info["api"], stack.info["token"])

    def run(self, seed: int) -> bool:
        begun = time.monotonic()
        placed = self._place(seed)
        self._wait_until_rest(placed)
        mismatches = [demo_stories.wrong(one, self._effects(one.number)) for one in placed]
        self._show_table(placed, mismatches)
        self._show_one(next(one for one in placed if one.story.meddle == "kill"))
        well = self._invariants_hold() and not any(mismatches)
        verdict = "all as promised" if well else "NOT as promised"
        self.console.print(f"\n[bold]{len(placed)} orders, {len(STORIES)} stories, {verdict}[/bold], {time.monotonic() - begun:.0f} s")
        return well

    def _place(self, seed: int) -> list[Placed]:
        total, placed = sum(story.count for story in STORIES), []
        with self._progress("placing orders", total) as advance:
            for one in demo_stories.place_all(self.shop, seed, self._kill_the_worker):
                placed.append(one)
                advance(len(placed))
        return placed

    def _kill_the_worker(self) -> None:
        demo_stories.kill_session(self.stack.pids("saga")[0])

    def _wait_until_rest(self, placed: list[Placed]) -> None:
        deadline = time.monotonic() + REST_WITHIN_S
        with self._progress("until all is at rest", len(placed)) as advance:
            while (moving := [one for one in placed if not demo_stories.at_rest(one.seen)]) and time.monotonic() < deadline:
                for one in moving:
                    one.seen = self._read(one)
                advance(sum(demo_stories.at_rest(one.seen) for one in placed))
                time.sleep(0.1)

    def _read(self, one: Placed) -> dict[str, Any]:
        return self.shop.order(one.number)

    def _effects(self, number: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.stack.info['sandbox']}/ledger", params={"order": number}, timeout=30)
        return list(answer.raise_for_status().json())

    @contextmanager
    def _progress(self, what: str, total: int) -> Iterator[Any]:
        with bars(self.console) as progress:
            bar = progress.add_task(what, total=total)
            yield lambda done: progress.update(bar, completed=done)

    def _show_table(self, placed: list[Placed], mismatches: list[str]) -> None:
        table = Table(title="What happened", title_justify="left")
        for column in ("story", "orders", "ended as", "provider's ledger, each", "promised"):
            table.add_column(column, justify="right" if column == "orders" else "left")
        for story in STORIES:
            mine = [(one, wrong) for one, wrong in zip(placed, mismatches, strict=True) if one.story is story]
            right = sum(not wrong for _, wrong in mine)
            ledger = ", ".join(story.effects) or "nothing"
            table.add_row(story.title, str(len(mine)), _statuses([one for one, _ in mine]), ledger, f"{right} of {len(mine)}")
        self.console.print(table)
        for wrong in filter(None, mismatches):
            self.console.print(wrong, style="red", markup=False)

    def _show_one(self, one: Placed) -> None:
        table = Table(title=f"{one.number}: {one.story.title}", title_justify="left")
        for column in ("time (UTC)", "epoch", "what happened"):
            table.add_column(column)
        for entry in one.seen["timeline"]:
            table.add_row(entry["at"][11:23], str(entry["epoch"] or ""), entry["sentence"])
        self.console.print(table)

    def _invariants_hold(self) -> bool:
        """In a process of its own: it reads the database, which this one has no settings for."""
        environment = os.environ | {"RUN_DIR": str(settings.RUN_DIR)}
        found = subprocess.run(
            [sys.executable, "manage.py", "reconcile"], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True
        )
        self.console.print(f"\nInvariants, journal against ledger: {(found.stdout + found.stderr).strip()}", highlight=False, markup=False)
        return found.returncode == 0


def _statuses(placed: list[Placed]) -> str:
    return ", ".join(sorted({one.seen.get("status", "?") for one in placed}))
