"""Markdown of the pages that show what was measured: between two marks stands what a program writes, and everything else is typed."""

from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->"


def write_measured(page: Path, parts: Sequence[str]) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n\n".join(parts) + "\n" + END + rest.partition(END)[2])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is a name, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
