"""Promise: ``python -m tests.bench scale`` works from beginning to end, and its page says what was measured. Shown with few orders: their times say nothing here."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.markdown import BEGIN, END
from tests.bench.scale import page
from tests.bench.scale.found import HELD, WAITING, Found, ScaleAsked, of_size
from tests.bench.scale.measuring import Cost, Killed, Rate
from tests.engines import ROOT

ASKED = ScaleAsked(
    folder=Path("nowhere"), sizes=(0, 1_000_000), orders=300, rounds=2, backlog=10_000, wiped=1_000, killed=1_000, due=20_000
)
COST = Cost(
    orders=300, seconds=10.0, client_ms=5.0, workers_ms=20.0, database_ms=10.0, broker_ms=2.0, write_transactions=10.0, wal_kb_without_images=14.0, messages=7.0,
    commands=40.0, foreign=0.0,
)  # fmt: skip


@pytest.mark.timeout(400)
def test_a_small_show_fulfils_every_order_at_every_size(tmp_path: Path) -> None:
    """A hundred finished orders, twelve that wait, an old snapshot; a relay among four hundred deliveries."""
    words = ["-m", "tests.bench", "scale", "--sizes", "0,100", "--orders", "6", "--rounds", "1", "--workers", "1", "--backlog", "12"]
    words += ["--wiped", "0", "--killed", "12", "--due", "100", "--folder", str(tmp_path / "bench")]
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR")}

    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=outer, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    last = re.match(r"scale: (\d+) conditions, (\d+) orders fulfilled, 0 failed", run.stdout.splitlines()[-1])
    assert last is not None, run.stdout
    assert (int(last[1]), int(last[2])) == (5, 48)
    assert "the relay at 100 finished orders: " in run.stdout
    assert f"{WAITING}: " in run.stdout
    assert f"{HELD}: " in run.stdout


def found(**changes: Cost) -> Found:
    costs = {of_size(0): [COST], of_size(1_000_000): [COST], HELD: [COST], WAITING: [COST]}
    names = {"largest": of_size(1_000_000), "held": HELD, "waiting": WAITING}
    return Found(
        costs=costs | {names[name]: [cost] for name, cost in changes.items()},
        queries={of_size(0): {"sweep": 0.4, "relay": 1.25}},
        relayed={1_000_000: Rate(count=20_000, seconds=10.0, cpu_ms=0.4)},
        relaunched=Rate(count=1_000, seconds=4.0),
        killed=Killed(count=1_000, left=900, seconds=50.0),
        statements=31.0,
    )


def test_the_goals_stand_beside_what_was_found() -> None:
    table = page.goals(found(largest=dataclasses.replace(COST, workers_ms=23.2), waiting=dataclasses.replace(COST, messages=7.14)), ASKED)

    assert "| CPU of an order at 1,000,000 finished orders | ≤ 1.10 × | 1.10 × |" in table
    assert "| messages too many, with a long queue | < 1 % | +2.00% |" in table
    assert "| the slowest query for what is due | ≤ 2 ms | 1.25 ms |" in table
    assert "| 1,000 orders whose messages were lost: launched again | ≥ 200 /s | 250 /s |" in table
    assert "| all workers killed with 1,000 orders in flight, 900 of them left: at rest after | ≤ 66 s | 50 s |" in table
    assert "| one relay, 4,000,000 deliveries there | ≥ 1,500 /s | 2,000 /s (0.40 CPU ms each) |" in table


def test_what_was_not_measured_is_said_so() -> None:
    few = Found(costs={of_size(0): [COST]})

    assert page.goals(few, ASKED).count("not measured") == 5


def test_more_orders_need_as_many_times_as_much() -> None:
    table = page.needs(found(), ASKED)

    assert "| cores for workers, sweep and relay | 0.2 | 2 | 20 |" in table
    assert "| write-ahead log, MB/s, without full-page images | 0.14 | 1.4 | 14 |" in table
    assert "| messages a second | 70 | 700 | 7,000 |" in table
    assert "| statements a second | 310 | 3,100 | 31,000 |" in table


def test_the_page_is_written_between_its_marks_and_a_busy_machine_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "scaling.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "PAGE", copy)

    page.write(found(held=dataclasses.replace(COST, foreign=0.4)), ASKED)

    before, _, rest = page.PAGE.read_text().partition(BEGIN)
    assert before.startswith("# Scaling")
    assert "Others used up to 40% of the machine, so the figures are too high." in rest
    assert "How to read it" in rest.partition(END)[2]
