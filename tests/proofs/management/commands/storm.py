"""``manage.py storm``: chaos scenarios, one after the other: hundreds of orders under one kind of harm, on real processes, each with counts and a verdict."""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console

from config.stack.errors import StackError
from config.stack.run_directory import hold
from config.stack.stop_signals import handle_signals
from tests.proofs.storms import invariants
from tests.proofs.storms.report import Report
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.scenarios import SCENARIOS
from tests.proofs.storms.spec import FULL, SIZES, SMALL
from tests.proofs.storms.storm import Progress, Storm

HELD, BROKEN, NOTHING = 0, 1, 2
WIDTH = 160


def _minutes(size: str) -> int:
    return round(sum(scenario.minutes[size] for scenario in SCENARIOS))


class Command(BaseCommand):
    help = (
        "Storms (chaos scenarios): hundreds of orders under one kind of harm after the other (--list names them). Each has "
        f"a stack of its own in .run/storm and is judged at its end. All take about {_minutes(FULL)} minutes, --size small about {_minutes(SMALL)}. Exit 0: "
        "everything held, 1: a breach, 2: not everything was shown. Example: manage.py storm --only database --seed 7"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only", action="append", default=[], metavar="NAME", choices=[s.name for s in SCENARIOS], help="this storm; repeatable"
        )
        parser.add_argument("--size", choices=SIZES, default=FULL, help="full (default), or the small versions that every test run shows")
        parser.add_argument("--seed", type=int, default=1, help="of what is left to chance: when what is struck (default 1)")
        parser.add_argument("--list", action="store_true", help="what there is, and what each promises")
        parser.add_argument("--json", action="store_true", help="one JSON object at the end; the rest goes to stderr")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = [scenario for scenario in SCENARIOS if not options["only"] or scenario.name in options["only"]]
        if options["list"]:
            for scenario in chosen:
                self.stdout.write(f"{scenario.name:<12} {scenario.promise}")
            return
        handle_signals()
        stream = sys.stderr if options["json"] else sys.stdout
        report = Report(Console(file=stream, width=None if stream.isatty() else WIDTH), options["size"])
        report.plan(chosen, options["seed"])
        begun = time.monotonic()
        storms, ended_by = list[Storm](), ""
        try:
            for scenario in chosen:
                storms.append(self._storm(scenario, options, report))
        except StackError as refused:
            ended_by = str(refused)
        except KeyboardInterrupt:
            ended_by = "Interrupted."
        if ended_by:
            self.stderr.write(f"{ended_by} Not shown: {', '.join(one.name for one in chosen[len(storms) :])}.")
        report.verdict(storms, begun)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(storms, options, ended_by)))
        sys.exit(BROKEN if any(storm.breaches for storm in storms) else NOTHING if ended_by else HELD)

    def _storm(self, scenario: Scenario, options: dict[str, Any], report: Report) -> Storm:
        begun = time.monotonic()
        with report.bar(scenario) as show:
            storm = _run(scenario, options["size"], options["seed"], show)
        report.scenario(storm, time.monotonic() - begun)
        return storm


def _run(scenario: Scenario, size: str, seed: int, show: Progress) -> Storm:
    """Raises StackError: it could not begin. A storm that fails by itself later has shown nothing good: that is a breach too."""
    folder = settings.RUN_DIR.resolve() / "storm"
    storm = Storm(scenario, size, seed, folder, show)
    lock = hold(storm.command_dir)
    if lock is None:
        raise StackError(f"The storm {scenario.name} runs already in this checkout: wait for it, or stop it with `make stop`.")
    with lock, scenario.surroundings(storm) as variables:
        storm.start(**variables)
        try:
            _happens(scenario, storm)
        finally:
            storm.stop()
    return storm


def _happens(scenario: Scenario, storm: Storm) -> None:
    try:
        scenario.happens(storm)
        invariants.judge(storm)
    except Exception as failed:
        storm.expect(False, f"the storm itself came to nothing: {type(failed).__name__}: {failed}")


def _as_json(storms: Sequence[Storm], options: dict[str, Any], ended_by: str) -> dict[str, Any]:
    return {
        "size": options["size"],
        "seed": options["seed"],
        "storms": [
            {"name": storm.scenario.name, "orders": len(storm.numbers), "counts": storm.counts, "breaches": storm.breaches}
            for storm in storms
        ],
        "orders": sum(len(storm.numbers) for storm in storms),
        "breaches": sum(len(storm.breaches) for storm in storms),
        "ended_by": ended_by or None,
    }
