"""``manage.py simulate``: deterministic simulation testing. Thousands of seeded histories of one order, with the real engine on a real database, each change
replayed on the model.
"""

import json
import os
import sys
import time
from argparse import ArgumentParser
from contextlib import nullcontext, suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from config.stack.stop_signals import handle_signals
from fulfillment.management.numbers import above_zero, at_least_one, at_least_zero
from tests.proofs.model.saga_journal import KINDS
from tests.proofs.simulation import pool
from tests.proofs.simulation.mutations import MUTATIONS
from tests.proofs.simulation.pool import NothingSimulated, Sum
from tests.proofs.simulation.simulator import Simulator
from tests.proofs.simulation.verdict import Verdict

HELD, BREACH, NOTHING = 0, 1, 2
MOVES = 60


class Command(BaseCommand):
    help = (
        "Deterministic simulation. Run seeded histories of one order: the real engine on a PostgreSQL of its own, with virtual messages, providers, "
        "crashes and time. "
        "A seed is one exactly repeatable history. Takes as long as you say (default: one minute; about 500 histories a minute and core). "
        "Exit 0: no breach. 1: a breach, or fewer histories than the floor. 2: interrupted, or nothing could be simulated. "
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
        parser.add_argument(
            "--mutation",
            choices=sorted(MUTATIONS),
            help="run a mutation of the engine, which breaks this rule, to see that it is seen",
        )
        parser.add_argument("--json", action="store_true", help="one JSON object at the end")
        parser.add_argument("--job", help="(a process of the command itself: its number / how many)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["job"]:
            self._histories(options)
            return
        self.console = Console(stderr=options["json"])
        handle_signals()
        seen = Sum()
        try:
            with pool.databases(settings.RUN_DIR.resolve() / "simulate", jobs_of(options), settings.BASE_DIR) as urls:
                self._run(seen, urls, options)
        except NothingSimulated as failed:
            self._end(f"{failed}{_so_far(seen) if seen.histories else ''}")
        except KeyboardInterrupt:
            if not seen.breaches:
                self._end(f"Interrupted.{_so_far(seen)}")
        self._show_result(seen, options)

    def _end(self, why: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            self.stderr.write(why)
        sys.exit(NOTHING)

    # --- in the process of the command ---

    def _run(self, seen: Sum, urls: list[str], options: dict[str, Any]) -> None:
        words = ["--seed", str(options["seed"]), "--mode", options["mode"], "--moves", str(moves_of(options))]
        words += ["--only", str(options["only"])] if options["only"] is not None else []
        words += ["--mutation", options["mutation"]] if options["mutation"] else []
        until = pool.histories_pass(options["histories"]) if options["histories"] else pool.minutes_pass(options["minutes"])
        total, begun = options["histories"] or options["minutes"] * 60, time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=options["only"] is not None) as progress:
            bar = progress.add_task("simulating", total=total)

            def show(seen: Sum) -> None:
                done = seen.histories if options["histories"] else time.monotonic() - begun
                progress.update(bar, completed=done, description=f"{seen.histories:,} histories")

            pool.run(seen, urls, settings.BASE_DIR, words, until, show)

    def _show_result(self, seen: Sum, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({**vars(seen), "missing": missing(seen)}))
        elif options["only"] is None:
            self._show_coverage(seen)
        for breach in seen.breaches:
            self.console.print(
                f"\nBREACH, seed {breach['seed']} ({breach['capabilities']}), shortest prefix of {len(breach['trace'])} lines:",
                markup=False,
            )
            self.console.print("\n".join(breach["trace"]), markup=False, highlight=False)
            self.console.print(f"Again: manage.py simulate --only {breach['seed']}", markup=False, highlight=False)
        if not options["json"]:
            self.stdout.write(
                f"{seen.histories:,} histories, {seen.moves:,} moves, {sum(seen.transitions.values()):,} transitions, {len(seen.breaches)} breaches"
            )
        too_few = not seen.breaches and seen.histories < floor_of(options)
        if too_few:
            self.stderr.write(f"Only {seen.histories} histories were run; at least {floor_of(options)} are wanted.")
        sys.exit(BREACH if seen.breaches or too_few else HELD)

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
        with MUTATIONS[options["mutation"]]() if options["mutation"] else nullcontext():
            if options["only"] is not None:
                verdict = self._one(simulator, options["only"], options)
                for line in verdict.trace:
                    self.stderr.write(line)
                self._report(verdict)  # last: whoever has heard it may end us
                return
            seed = options["seed"] * 1_000_000 + job
            while True:
                self._report(self._one(simulator, seed, options))
                seed += jobs

    def _report(self, verdict: Verdict) -> None:
        """Ends this process where nobody listens any more: whoever started it was killed."""
        try:
            self.stdout.write(json.dumps(vars(verdict)))
            self.stdout.flush()
        except BrokenPipeError:
            os._exit(NOTHING)

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


def _so_far(seen: Sum) -> str:
    return f" {seen.histories:,} histories were seen, no breach so far."


def jobs_of(options: dict[str, Any]) -> int:
    return int(1 if options["only"] is not None else options["jobs"])


def floor_of(options: dict[str, Any]) -> int:
    """How many histories are enough: never none."""
    if options["only"] is not None:
        return 1
    return int(max(1, min(options["floor"], options["histories"] or options["floor"])))


def moves_of(options: dict[str, Any]) -> int:
    return int(options["moves"] or (MOVES * 4 if options["mode"] == "safety" else MOVES))


def missing(seen: Sum) -> list[str]:
    return [kind for kind in KINDS if not seen.transitions[kind]]
