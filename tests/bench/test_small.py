"""Promise: the shows of ``python -m tests.bench`` work from beginning to end. Shown with few requests: their times say nothing here."""

import itertools
import os
import re
import subprocess
import sys

import pytest

from tests.engines import ROOT, RUN_DIR


@pytest.mark.timeout(300)
@pytest.mark.parametrize("show", ["accept", "disturbed"])
def test_a_small_show_measures_something_and_nothing_fails(show: str) -> None:
    run = bench(show, "--rounds", "1", "--seconds", "2", "--flood", "8")

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    last = re.match(rf"{show}: (\d+) requests in 1 rounds, 0 failed", run.stdout.splitlines()[-1])
    assert last is not None, run.stdout
    assert int(last[1]) > 0


@pytest.mark.timeout(300)
def test_ours_and_celery_alone_do_the_whole_work_of_each_order() -> None:
    """The rows are counted by the bench itself: it fails if one is missing."""
    run = bench("peers", "--peers", "ours,raw", "--here", "--rounds", "1", "--seconds", "1", "--orders", "20")

    assert run.returncode == 0, run.stdout[:3000] + run.stderr[-3000:]
    assert "peers: 2 runs in 1 rounds, 50 orders, all as they should be; 0 runs failed" in run.stdout.splitlines()[-1]
    costs, writes = (table(run.stdout, column) for column in ("CPU ms", "write transactions"))
    assert costs["ours"]["CPU ms"] > 0
    assert 4 <= writes["ours"]["write transactions"] < 60  # on a slow machine the loops write for longer
    assert writes["raw"]["write transactions"] < 1
    assert writes["raw"]["broker commands"] > 20
    assert "| payment |" in run.stdout


def bench(show: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """In a folder of this checkout: a later run of pytest closes the temporary ones to PostgreSQL, which may be another user."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR")}
    program = [sys.executable, "-m", "tests.bench", show, *words, "--folder", str(RUN_DIR / f"bench-{show}")]
    return subprocess.run(program, cwd=ROOT, env=outer, capture_output=True, text=True)


def table(output: str, column: str) -> dict[str, dict[str, float]]:
    """By peer, the figures of the table that has this column."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| ") and f"| {column} |" in line)
    heads = [cell.strip() for cell in lines[start].split("|")[2:-1]]
    found = {}
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
        name, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        found[name.split("`")[1]] = {head: float(cell) for head, cell in zip(heads, cells, strict=True) if cell != "–"}
    return found
