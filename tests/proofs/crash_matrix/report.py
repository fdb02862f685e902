"""What a run shows: a bar with an estimate on a terminal, a line for each case, two tables, and the last line with the counts."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.proofs.crash_matrix.cases import ACTIONS, FAULTS, Case
from tests.proofs.crash_matrix.outcome import Outcome


class Report:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.begun = time.monotonic()

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, total: int) -> Iterator[Callable[[Outcome], None]]:
        columns = (
            TextColumn("crash matrix"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            bar = progress.add_task("crash matrix", total=total)

            def show(outcome: Outcome) -> None:
                self.line(outcome)
                progress.advance(bar)

            yield show

    def line(self, outcome: Outcome) -> None:
        verdict = "ok" if outcome.ok else f"BREACH {'; '.join(outcome.reasons)}"
        self.console.print(
            f"{outcome.case.name:<58} {outcome.order:<9} {outcome.ended:<16} {outcome.seconds:>5.1f} s  {verdict}",
            style="" if outcome.ok else "red",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def tables(self, outcomes: Sequence[Outcome]) -> None:
        self._table("boundary", outcomes, lambda case: case.boundary, sorted({outcome.case.boundary for outcome in outcomes}))
        self._table("step", outcomes, lambda case: f"{case.direction} {case.step}", None)
        self._table("provider", outcomes, lambda case: case.fault, list(FAULTS))
        self._table("dies by", outcomes, lambda case: case.action, list(ACTIONS))

    def _table(self, title: str, outcomes: Sequence[Outcome], value: Callable[[Case], str], rows: Iterable[str] | None) -> None:
        table = Table(title_justify="left")
        table.add_column(title, min_width=24)
        for column in ("cases", "injected", "ended well", "breaches", "median s"):
            table.add_column(column, justify="right")
        for row in rows or dict.fromkeys(value(outcome.case) for outcome in outcomes):
            if mine := [outcome for outcome in outcomes if value(outcome.case) == row]:
                held, seconds = sum(outcome.ok for outcome in mine), sorted(outcome.seconds for outcome in mine)
                figures = (
                    len(mine),
                    sum(outcome.injected for outcome in mine),
                    held,
                    len(mine) - held,
                    f"{seconds[len(seconds) // 2]:.1f}",
                )
                table.add_row(row, *map(str, figures))
        self.console.print(table)

    def verdict(self, outcomes: Sequence[Outcome]) -> None:
        """The last line."""
        injected, fallen = sum(outcome.injected for outcome in outcomes), [outcome for outcome in outcomes if not outcome.ok]
        for outcome in fallen:
            self.line(outcome)
        self.say(f"{(time.monotonic() - self.begun) / 60:.1f} minutes")
        self.say(f"{len(outcomes)} cases, {injected} faults injected, {len(fallen)} breaches")
