"""``manage.py storm``: hundreds of orders under one kind of harm after the other, on real processes, each with counts and a verdict."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console

from config.management.commands.up import heed_signals
from config.storming import judging
from config.storming.scenario import FULL, SIZES, Scenario
from config.storming.scenarios import SCENARIOS
from config.storming.showing import Showing
from config.storming.storm import Progress, Storm
from config.supervisor import StackError

HELD, BROKEN, NOTHING = 0, 1, 2
WIDTH = 160


class Command(BaseCommand):
    help = (
        "Storms: refunds down, the stack killed, the broker wiped, the database stopped, workers frozen, ledgers forged. Each has a stack of its own in "
        ".run/storm and is judged at its end. All take about half an hour, --size small about seven minutes. Exit 0: everything held, 1: a breach, 2: nothing "
        "was shown. Example: manage.py storm --only database --seed 7"
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
        heed_signals()
        stream = sys.stderr if options["json"] else sys.stdout
        showing = Showing(Console(file=stream, width=None if stream.isatty() else WIDTH), options["size"])
        showing.plan(chosen)
        begun = time.monotonic()
        try:
            storms = [self._storm(scenario, options, showing) for scenario in chosen]
        except StackError as refused:
            self._end(str(refused))
        except KeyboardInterrupt:
            self._end("Interrupted: nothing was shown.")
        showing.verdict(storms, begun)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(storm) for storm in storms]))
        sys.exit(BROKEN if any(storm.breaches for storm in storms) else HELD)

    def _storm(self, scenario: Scenario, options: dict[str, Any], showing: Showing) -> Storm:
        begun = time.monotonic()
        with showing.bar(scenario) as show:
            storm = _run(scenario, options["size"], options["seed"], show)
        showing.told(storm, time.monotonic() - begun)
        return storm

    def _end(self, why: str) -> None:
        self.stderr.write(why)
        sys.exit(NOTHING)


def _run(scenario: Scenario, size: str, seed: int, show: Progress) -> Storm:
    """A storm that fails by itself has shown nothing good: that is a breach too."""
    storm = Storm(scenario, size, seed, settings.RUN_DIR.resolve() / "storm", show)
    try:
        with scenario.surroundings(storm) as variables:
            try:
                storm.start(**variables)
                scenario.happens(storm)
                judging.judge(storm)
            finally:
                storm.stop()
    except StackError:
        raise
    except Exception as failed:
        storm.expect(False, f"the storm itself came to nothing: {type(failed).__name__}: {failed}")
    return storm


def _as_json(storm: Storm) -> dict[str, Any]:
    return {"name": storm.scenario.name, "orders": len(storm.numbers), "counts": storm.counts, "breaches": storm.breaches}
