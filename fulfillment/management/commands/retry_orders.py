"""``manage.py retry_orders``: many orders at once, tried again with a fresh budget. Shows first what it would do; ``--yes`` does it."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulfillment.management.operating import OperatorCommand, authenticated, rate, words, wrong_usage
from fulfillment.recovery import Refused, bulk
from fulfillment.recovery.bulk import Candidate, Result
from orders.attention import IncidentKind
from orders.operators import Actor

FILTERS = ("kind", "step", "code")


class Command(OperatorCommand):
    help = (
        "Retry every order with an open incident that fits the filters; without --yes nothing is done. "
        'Example: manage.py retry_orders --kind undo_exhausted --step payment --yes --reason "the provider is back"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--kind", choices=IncidentKind.values, default="", help="of the incident")
        parser.add_argument("--step", default="", help="of the incident, like payment")
        parser.add_argument("--code", default="", help="of the incident, as `manage.py incidents` shows it")
        parser.add_argument("--all", action="store_true", help="whatever the incident")
        parser.add_argument("--yes", action="store_true", help="do it; needs --reason")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later")
        parser.add_argument("--rate", type=rate, default=20.0, help="at most so many orders a second (default 20)")

    def handle(self, *args: Any, **options: Any) -> None:
        filters = {name: options[name] for name in FILTERS}
        if any(filters.values()) == options["all"]:
            wrong_usage("Which orders? Give --kind, --step or --code; or --all, for every open incident.")
        if options["yes"] and not options["reason"]:
            wrong_usage("--yes needs --reason.")
        actor = authenticated("retry") if options["yes"] else None
        found = bulk.candidates(**filters)
        if actor is None:
            self._preview(found, options["json"])
            return
        try:
            went_well = self._do(found, actor, options)
        except Refused as refused:
            sys.exit(str(refused))
        if not went_well:
            sys.exit(1)

    def _preview(self, found: list[Candidate], as_json: bool) -> None:
        if as_json:
            self.tell_json({"told": bulk.told(found), "orders": [dataclasses.asdict(candidate) for candidate in found]})
        else:
            self.tell(f"{bulk.told(found)}.", 'Nothing was done. To do it, add: --yes --reason "…"')

    def _do(self, found: list[Candidate], actor: Actor, options: dict[str, Any]) -> bool:
        """Whether each went well. Interrupted, it says how many it has not reached."""
        results: list[Result] = []
        taken = sum(not candidate.skip for candidate in found)
        if not options["json"]:
            self.tell(f"{bulk.told(found)}.")
        with suppress(KeyboardInterrupt), _shown(taken, self.stdout.write, not options["json"]) as show:
            for result in bulk.retry(found, actor=actor, reason=options["reason"], rate_per_s=options["rate"]):
                results.append(result)
                show(result.sentence)
        if options["json"]:
            self.tell_json({"told": bulk.told(found), "results": [dataclasses.asdict(result) for result in results]})
        else:
            self.tell(_counts(results, taken))
        return len(results) == taken and all(result.went_well for result in results)


def _counts(results: list[Result], taken: int) -> str:
    outcomes = Counter(result.outcome for result in results)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "nothing to do"
    left = taken - len(results)
    return f"{told}, {left} not reached." if left else f"{told}."


@contextmanager
def _shown(total: int, write: Callable[[str], Any], lines: bool) -> Iterator[Callable[[str], None]]:
    """A line for each result; on a terminal with a bar below them."""
    if not lines:
        yield lambda line: None
    elif not sys.stdout.isatty():
        yield lambda line: write(line)
    else:
        columns = (TextColumn("retrying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(), transient=True) as progress:
            bar = progress.add_task("retrying", total=total)

            def show(line: str) -> None:
                progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
                progress.advance(bar)

            yield show
