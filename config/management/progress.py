"""The bar of a command that takes long: how much is done, of how much, and how long it will still take."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fulfillment.reconciliation.listings import Watch


def bars(console: Console, **options: Any) -> Progress:
    columns = (TextColumn("{task.description:30}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, **options)


@contextmanager
def progress(begin: str) -> Iterator[Watch]:
    """On a terminal only, and beside the output, so that a pipe gets nothing but the answer."""
    console = Console(stderr=True)
    with bars(console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(begin, total=None)
        yield lambda what, done, total: progress.update(bar, description=what, completed=done, total=total)
