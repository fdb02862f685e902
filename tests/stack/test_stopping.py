"""Promise: one ``make stop`` ends whatever this checkout runs or has left, and says so of nothing else."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.stack.processes import end_session, note
from tests.engines import ROOT


class Left:
    """A process that somebody who was killed has left in ``run_dir``."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True)
        self.process = subprocess.Popen(["sleep", "300"], start_new_session=True)
        threading.Thread(target=self.process.wait, daemon=True).start()  # or it would stay as a zombie
        note({"saga": self.process.pid}, run_dir / "processes.json")


@pytest.fixture
def left(tmp_path: Path) -> Iterator[list[Left]]:
    everyone = [Left(tmp_path / place) for place in ("prove", "storm/killed", "simulate")]
    yield everyone
    for one in everyone:
        end_session(one.process.pid)
        one.process.wait()


def stop(run_dir: Path) -> list[str]:
    """What ``make stop`` prints; what it needs is installed: this test runs in it."""
    command = ["make", "-s", "-o", ".venv/.runtime", "-o", ".venv/bin/python", "stop"]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"RUN_DIR": str(run_dir)}, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_what_prove_storm_and_simulate_have_left_is_ended(tmp_path: Path, left: list[Left]) -> None:
    """I killed them, or forgot them; a folder in which nothing runs, and a file, are not spoken of."""
    (tmp_path / "storm/wiped").mkdir()
    (tmp_path / "storm/a file").write_text("")

    output = stop(tmp_path)

    assert output == [f"{tmp_path / place}: Ended what an earlier run had left: saga." for place in ("prove", "storm/killed", "simulate")]
    assert [one.process.wait(5) for one in left] == [-9, -9, -9]


def test_where_nothing_runs_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "prove").mkdir()

    assert stop(tmp_path) == ["No stack is running in this checkout."]
    assert stop(tmp_path / "never made") == ["No stack is running in this checkout."]
