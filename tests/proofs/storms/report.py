"""What a run shows: a bar with an estimate on a terminal, a line for each scenario and each breach, and the last line with the counts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.storm import Progress, Storm


class Report:
    def __init__(self, console: Console, size: str) -> None:
        self.console = console
        self.size = size

    def say(self, line: str, style: str = "") -> None:
        self.console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    def plan(self, scenarios: Sequence[Scenario], seed: int) -> None:
        minutes = sum(scenario.minutes[self.size] for scenario in scenarios)
        self.say(f"{len(scenarios)} storms, {self.size}, seed {seed}: about {max(1, round(minutes))} minutes")

    @contextmanager
    def bar(self, scenario: Scenario) -> Iterator[Progress]:
        about = f"of about {scenario.minutes[self.size] * 60:.0f} s"
        columns = (TextColumn("{task.description:45}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn(about))
        with Bars(*columns, console=self.console, disable=not self.console.is_terminal, transient=True) as progress:
            bar = progress.add_task(scenario.name, total=1)
            yield lambda what, done, total: progress.update(bar, description=f"{scenario.name}: {what}", completed=done, total=total)

    def scenario(self, storm: Storm, seconds: float) -> None:
        counts = ", ".join(f"{what} {count}" for what, count in storm.counts.items())
        verdict = "ok" if not storm.breaches else f"{len(storm.breaches)} BREACHES"
        self.say(f"{storm.scenario.name:<12} {seconds:>5.0f} s  {verdict}  {counts}", style="red" if storm.breaches else "")
        for breach in storm.breaches:
            self.say(f"    {breach}", style="red")

    def verdict(self, storms: Sequence[Storm], begun: float) -> None:
        """The last line."""
        orders, breaches = sum(len(storm.numbers) for storm in storms), sum(len(storm.breaches) for storm in storms)
        self.say(f"{(time.monotonic() - begun) / 60:.1f} minutes")
        self.say(f"{len(storms)} storms, {orders:,} orders, {breaches} breaches")
