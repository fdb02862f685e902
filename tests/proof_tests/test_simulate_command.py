"""Promise: ``manage.py simulate`` says what it has seen, however it ends, leaves nothing behind, and is alone in its run directory."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from config.stack.processes import end_session
from config.stack.stop_signals import STOP_SIGNALS
from tests.engines import ROOT, RUN_DIR
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.forkserver import hear_signals
from tests.proofs.simulation import pool
from tests.proofs.simulation.pool import NothingSimulated, Sum

HERE = RUN_DIR / "simulate"  # where `make clean` looks too
NOBODY = "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1"


def manage(*words: str, run_dir: Path = RUN_DIR) -> "subprocess.Popen[str]":
    variables = os.environ | {"RUN_DIR": str(run_dir)}
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_signals,
    )


def of_the_simulation() -> list[psutil.Process]:
    """The processes of the command and of its server, whoever has started them."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _is_of_it(process)]


def _is_of_it(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        if "--job" in words:
            return bool(process.environ().get("RUN_DIR") == str(RUN_DIR))
    except psutil.Error:
        return False
    return str(HERE) in " ".join(words)


def histories(running: "subprocess.Popen[str]") -> bool:
    """Two processes of it run histories."""
    assert running.poll() is None, running.communicate()
    return running_histories() == 2


def running_histories() -> int:
    return sum("--job" in _words(process) for process in of_the_simulation())


def _words(process: psutil.Process) -> list[str]:
    """None of one that has ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


@pytest.fixture
def running() -> Iterator["subprocess.Popen[str]"]:
    """A simulation that would go on for long."""
    started = manage("simulate", "--minutes", "30")
    try:
        wait_for(lambda: histories(started), within_s=60)
        yield started
    finally:
        end_session(started.pid)
        manage("up", "--stop", str(HERE)).wait()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_whoever_stops_it_reads_what_was_seen_and_nothing_is_left(running: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """I have seen enough, or the machine goes down."""
    running.send_signal(number)

    _, output = running.communicate(timeout=30)

    assert running.returncode == 2
    assert output.startswith("Interrupted. ") and output.endswith("histories were seen, no breach so far.\n")
    assert of_the_simulation() == []


def test_a_second_one_is_refused_and_the_first_goes_on(running: "subprocess.Popen[str]") -> None:
    """I forgot that one is running in another window: it keeps its databases, and ``make stop`` ends it in order."""
    second = manage("simulate", "--histories", "1")
    _, output = second.communicate(timeout=30)

    assert (second.returncode, output.count("\n")) == (2, 1)
    assert output.startswith("A simulation is already running in this checkout")
    assert histories(running)

    assert manage("up", "--stop", str(HERE)).communicate()[0] == "Stopped.\n"
    assert running.wait() == 2


def test_what_a_killed_one_has_left_ends_by_itself_or_by_make_stop(running: "subprocess.Popen[str]") -> None:
    """Its processes have nobody to tell; its server is found by its data."""
    running.kill()

    wait_for(lambda: not running_histories(), within_s=30)
    assert manage("up", "--stop", str(HERE)).communicate()[0] == "Ended what an earlier run had left: postgres.\n"
    assert of_the_simulation() == []


def test_a_server_that_does_not_start_is_reported(tmp_path: Path) -> None:
    """Its data is broken: I read where they are, and that I may delete them."""
    broken = tmp_path / "simulate" / "postgres" / "PG_VERSION"
    broken.parent.mkdir(parents=True)
    broken.write_text("18")

    run = manage("simulate", run_dir=tmp_path)
    _, output = run.communicate(timeout=60)

    assert run.returncode == 2
    assert "PostgreSQL did not start" in output and f"{tmp_path / 'simulate'} can be deleted safely" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("words", [[], ["--only", "1"]])
def test_processes_that_fail_are_no_simulation(words: list[str]) -> None:
    """No history at all is not a good one."""
    seen = Sum()

    with pytest.raises(NothingSimulated, match="has failed \\(exit code 1\\)"):
        pool.run(seen, [NOBODY, NOBODY], ROOT, ["--seed", "1", "--moves", "60", *words], lambda _: False, lambda _: None)

    assert seen.histories == 0
