"""``manage.py simulate``: thousands of seeded histories of one order, with the real engine on a real database, each change replayed on the model."""

import json
import sys
import time
from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from config import embedded
from config.management.numbers import above_zero, at_least_one, at_least_zero
from config.simulation import pool
from config.simulation.history import Simulator, Verdict
from config.simulation.pool import Sum
from config.simulation.sabotage import BROKEN
from tests.model.saga_journal import KINDS

MOVES = 60


class Command(BaseCommand):
    help = (
        "Run seeded histories of one order: the real engine on a PostgreSQL of its own, with virtual messages, providers, crashes and time. "
        "A seed is one exactly repeatable history. Takes as long as you say (default: one minute; about 500 histories a minute and core). "
        "Example: manage.py simulate --minutes 5 --seed 7; again one history: manage.py simulate --only 4711"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--minutes", type=above_zero, default=1.0, help="how long (default 1)")
        parser.add_argument("--histories", type=at_least_one, help="how many, instead of how long")
        parser.add_argument("--floor", type=at_least_zero, default=100, help="fewer histories than this are a failure (default 100)")
        parser.add_argument(
            "--seed", type=at_least_zero, default=1, help="where the seeds begin: histories seed × 1,000,000 and on (default 1)"
        )
        parser.add_argument("--only", type=at_least_zero, help="run this one history and print it")
        parser.add_argument(
            "--mode",
            choices=["safety", "liveness"],
            default="liveness",
            help="liveness: faults stop, and all must come to rest (default); safety: faults without end",
        )
        parser.add_argument("--moves", type=at_least_one, help=f"moves with faults in a history (default {MOVES}; safety: {MOVES * 4})")
        parser.add_argument("--jobs", type=at_least_one, default=2, help="processes side by side (default 2)")
        parser.add_argument("--sabotage", choices=sorted(BROKEN), help="break this rule of the engine first, to see that it is seen")
        parser.add_argument("--json", action="store_true", help="one JSON object at the end")
        parser.add_argument("--job", help="(a process of the command itself: its number / how many)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["job"]:
            self._histories(options)
            return
        self.console = Console(stderr=options["json"])
        run_dir = settings.RUN_DIR / "simulate"
        try:
            urls = pool.databases(run_dir, 1 if options["only"] is not None else options["jobs"], settings.BASE_DIR)
            seen = self._run(urls, options)
        except KeyboardInterrupt:
            sys.exit("Interrupted.")
        finally:
            embedded.stop_postgres(run_dir)
        self._tell(seen, options)

    # --- in the process of the command ---

    def _run(self, urls: list[str], options: dict[str, Any]) -> Sum:
        words = ["--seed", str(options["seed"]), "--mode", options["mode"], "--moves", str(moves_of(options))]
        words += ["--only", str(options["only"])] if options["only"] is not None else []
        words += ["--sabotage", options["sabotage"]] if options["sabotage"] else []
        until = pool.histories_pass(options["histories"]) if options["histories"] else pool.minutes_pass(options["minutes"])
        total, begun = options["histories"] or options["minutes"] * 60, time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=options["only"] is not None) as progress:
            bar = progress.add_task("simulating", total=total)

            def show(seen: Sum) -> None:
                done = seen.histories if options["histories"] else time.monotonic() - begun
                progress.update(bar, completed=done, description=f"{seen.histories:,} histories")

            return pool.run(urls, settings.BASE_DIR, words, until, show)

    def _tell(self, seen: Sum, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({**vars(seen), "missing": missing(seen)}))
        elif options["only"] is None:
            self._show_coverage(seen)
        for breach in seen.breaches:
            self.console.print(
                f"\nBREACH, seed {breach['seed']} ({breach['card']}), shortest prefix of {len(breach['trace'])} lines:", markup=False
            )
            self.console.print("\n".join(breach["trace"]), markup=False, highlight=False)
            self.console.print(f"Again: manage.py simulate --only {breach['seed']}", markup=False, highlight=False)
        if not options["json"]:
            self.stdout.write(
                f"{seen.histories:,} histories, {seen.moves:,} moves, {sum(seen.transitions.values()):,} transitions, {len(seen.breaches)} breaches"
            )
        too_few = (
            options["only"] is None
            and not seen.breaches
            and seen.histories < min(options["floor"], options["histories"] or options["floor"])
        )
        if too_few:
            self.stderr.write(f"Only {seen.histories} histories were run; at least {options['floor']} are wanted.")
        sys.exit(1 if seen.breaches or too_few else 0)

    def _show_coverage(self, seen: Sum) -> None:
        table = Table(title="Transitions, each replayed on the model", title_justify="left")
        table.add_column("transition")
        table.add_column("times", justify="right")
        for kind in KINDS:
            table.add_row(kind, f"{seen.transitions[kind]:,}")
        self.console.print(table)
        self.console.print(f"Not seen: {', '.join(missing(seen)) or 'none'}", highlight=False)
        for ending, count in sorted(seen.endings.items()):
            self.console.print(f"  {ending}: {count:,}", highlight=False)

    # --- in a process of its own ---

    def _histories(self, options: dict[str, Any]) -> None:
        job, jobs = (int(part) for part in options["job"].split("/"))
        pool.stay_on_one_core(job)
        simulator = Simulator()
        with BROKEN[options["sabotage"]]() if options["sabotage"] else nullcontext():
            if options["only"] is not None:
                verdict = self._one(simulator, options["only"], options)
                self.stdout.write(json.dumps(vars(verdict)))
                for line in verdict.trace:
                    self.stderr.write(line)
                return
            seed = options["seed"] * 1_000_000 + job
            while True:
                self.stdout.write(json.dumps(vars(self._one(simulator, seed, options))))
                self.stdout.flush()
                seed += jobs

    def _one(self, simulator: Simulator, seed: int, options: dict[str, Any]) -> Verdict:
        until_rest = options["mode"] == "liveness"
        verdict = simulator.run(seed, options["moves"], until_rest=until_rest)
        return shortest(simulator, seed, options["moves"], until_rest) if verdict.breach else verdict


def shortest(simulator: Simulator, seed: int, moves: int, until_rest: bool) -> Verdict:
    """The same history with as few moves with faults as still breach."""
    for fewer in range(moves + 1):
        verdict = simulator.run(seed, fewer, until_rest=until_rest)
        if verdict.breach:
            return verdict
    return simulator.run(seed, moves, until_rest=until_rest)


def moves_of(options: dict[str, Any]) -> int:
    return int(options["moves"] or (MOVES * 4 if options["mode"] == "safety" else MOVES))


def missing(seen: Sum) -> list[str]:
    return [kind for kind in KINDS if not seen.transitions[kind]]
