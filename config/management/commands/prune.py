"""``manage.py prune``: removes what is older than its retention, in batches, and says what it keeps though it is old (docs/retention.md)."""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import DatabaseError

from config.management.progress import progress
from fulfillment import pruning as of_fulfillment
from fulfillment.management.numbers import above_zero, at_least_one
from fulfillment.management.operating import OperatorCommand, wrong_usage
from fulfillment.reconciliation.listings import Watch
from orders import pruning as of_orders
from orders.database import is_our_trouble, sqlstate
from orders.pruning import Found, Kind
from sideeffects import pruning as of_side_effects

HISTORY = of_fulfillment.History({**of_orders.NEEDED, **of_side_effects.NEEDED})
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (HISTORY, *of_fulfillment.KINDS, *of_orders.KINDS)}
BATCH, MOST_AT_ONCE, FASTEST_PER_S = 200, 10_000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Old:
    """What of one kind is old enough: older than ``before``. ``removed`` None: it was only counted."""

    kind: Kind
    before: datetime
    found: Found
    removed: int | None = None


class Command(OperatorCommand):
    help = (
        "Remove what is older than its retention (KEEP_…_D, docs/retention.md): above all the history of orders that ended long ago. It may be stopped at any "
        "time, and goes on when it is run again. Example: manage.py prune --dry-run. Example: manage.py prune --only history --rate 500"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="count what would go, and remove nothing")
        parser.add_argument("--only", choices=KINDS, action="append", metavar="KIND", help=f"of: {', '.join(KINDS)}; may be repeated")
        parser.add_argument(
            "--batch", type=at_least_one, default=BATCH, metavar="N", help=f"orders, or rows, in one transaction (default: {BATCH})"
        )
        parser.add_argument(
            "--rate",
            type=partial(above_zero, most=FASTEST_PER_S),
            metavar="N",
            help="at most so many orders, or rows, a second (default: no limit)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["batch"] > MOST_AT_ONCE:
            wrong_usage(f"--batch is at most {MOST_AT_ONCE:,}: a larger transaction would hold its rows for too long.")
        try:
            done = [_counted(KINDS[name]) for name in dict.fromkeys(options["only"] or KINDS)]
            if not options["dry_run"]:
                with progress("pruning") as watch:
                    done = [old and _removed(old, options["batch"], options["rate"], watch) for old in done]
        except DatabaseError as error:
            if not is_our_trouble(error):
                raise
            sys.exit(f"The database could not do this now ({sqlstate(error) or 'no connection'}). Run it again: it goes on where it was.")
        old = [one for one in done if one is not None]
        if options["json"]:
            self.write_json({"dry_run": options["dry_run"], "kinds": {one.kind.name: _as_json(one) for one in old}})
        else:
            self.write_lines(*_lines(old, options["dry_run"]))


def _counted(kind: Kind) -> Old | None:
    """None: it is kept for ever."""
    before = of_orders.before(kind.setting)
    return Old(kind=kind, before=before, found=kind.find(before)) if before else None


def _removed(old: Old, size: int, rate_per_s: float | None, watch: Watch) -> Old:
    """Batch after batch. What becomes old meanwhile is left for the next run, so that this one ends."""
    begun, removed, after, is_left = time.monotonic(), 0, None, True
    while is_left:
        batch = old.kind.remove(old.before, after, size)
        removed, after, is_left = removed + batch.removed, batch.after, batch.after is not None
        watch(f"pruning {old.kind.name}", removed, max(old.found.count, removed))
        if rate_per_s and is_left:
            time.sleep(max(0.0, begun + removed / rate_per_s - time.monotonic()))
    return Old(kind=old.kind, before=old.before, found=old.found, removed=removed)


def _lines(old: list[Old], dry_run: bool) -> Iterator[str]:
    yield "Would be removed:" if dry_run else "Removed:"
    for one in old:
        count = one.found.count if one.removed is None else one.removed
        oldest = f", the oldest of {one.found.oldest:%Y-%m-%d %H:%M:%S} UTC" if one.found.oldest else ""
        days = getattr(settings, one.kind.setting)
        yield f"  {one.kind.name}: {count:,} {one.kind.unit} older than {days} days ({one.kind.setting}){oldest}"
        yield from (f"    kept: {stay:,} {one.kind.unit}, because {why}" for why, stay in sorted(one.found.kept.items()))
    if dry_run:
        yield "Nothing was removed. What is kept for ever, and why: docs/retention.md."


def _as_json(old: Old) -> dict[str, Any]:
    return {
        "setting": old.kind.setting,
        "days": getattr(settings, old.kind.setting),
        "before": old.before,
        "unit": old.kind.unit,
        "found": old.found.count,
        "oldest": old.found.oldest,
        "kept": dict(old.found.kept),
        "removed": old.removed,
    }
