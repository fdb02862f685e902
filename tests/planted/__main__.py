"""``python -m tests.planted [WORD …]``: plant each bug (whose name has one of the words), ask the tests, and print what has seen it. Some minutes."""

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.planted.bug import Bug
from tests.planted.bugs import BUGS
from tests.planted.planting import NothingAsked, Verdict, ask, copied


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("words", nargs="*", help="only bugs whose name, file or blindness has one of these words")
    words = parser.parse_args().words
    chosen = [bug for bug in BUGS if not words or any(word in f"{bug.name} {bug.file} {bug.blindness}" for word in words)]
    console = Console()
    if not chosen:
        console.print(f"No bug has any of these words: {', '.join(words)}.")
        return 2
    try:
        verdicts = asked(chosen, console)
    except NothingAsked as wrong:
        console.print(str(wrong), markup=False, highlight=False)
        return 2
    console.print(table_of(verdicts))
    seen = sum(bool(verdict.by) for verdict in verdicts)
    console.print(f"{len(verdicts)} planted, {seen} seen", highlight=False)
    return int(seen < len(verdicts))


def asked(chosen: list[Bug], console: Console) -> list[Verdict]:
    verdicts: list[Verdict] = []
    begun = time.monotonic()
    with copied() as tree:
        for number, bug in enumerate(chosen, 1):
            verdict = ask(bug, tree)
            verdicts.append(verdict)
            left_min = (time.monotonic() - begun) / number * (len(chosen) - number) / 60
            seen = verdict.by or "NOT SEEN"
            console.print(
                f"{number:>2}/{len(chosen)}  {verdict.seconds:>5.1f} s  {bug.name}: {seen}  (about {left_min:.0f} min left)",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
    return verdicts


def table_of(verdicts: list[Verdict]) -> Table:
    table = Table(title_justify="left")
    for column in ("where tests were blind", "bug", "seen by"):
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        table.add_row(verdict.bug.blindness, f"{verdict.bug.name}\n{verdict.bug.file}", verdict.by.replace("::", "\n") or "NOT SEEN")
    return table


sys.exit(main())
