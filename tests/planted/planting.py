"""Planting: a copy of the tree, one bug at a time in it, and the tests that are asked. Nothing is ever changed in place."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.stack import embedded
from tests.planted.bug import Bug
from tests.proofs.checkout import CODE, copy_code

LONGEST_S = 400.0  # a bug that makes a test hang is seen too
COPIED = (*CODE, "tests", "docs", "pyproject.toml", "README.md")
SAW = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*?\])?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``by``: the first test that saw it; empty: none did."""

    bug: Bug
    by: str
    seconds: float


class NothingAsked(Exception):
    """The tests could not even be run; the message is what they said last."""


@contextmanager
def copied() -> Iterator[Path]:
    """The tree as it stands, in a folder of its own, with a PostgreSQL of its own when tests run there."""
    tree = Path(tempfile.mkdtemp(prefix="planted-"))
    try:
        copy_code(tree, COPIED)
        yield tree
    finally:
        with suppress(*embedded.NO_SERVER):
            embedded.stop_postgres(tree / ".run" / "test" / "unit")
        shutil.rmtree(tree, ignore_errors=True)


@contextmanager
def planted(bug: Bug, tree: Path) -> Iterator[None]:
    file = tree / bug.file
    sound = file.read_text()
    if sound.count(bug.search) != 1:
        raise NothingAsked(
            f"{bug.name!r}: what it replaces stands {sound.count(bug.search)} times in {bug.file}; bring the bug up to date."
        )
    file.write_text(sound.replace(bug.search, bug.replace))
    try:
        yield
    finally:
        file.write_text(sound)


def ask(bug: Bug, tree: Path, tests: tuple[str, ...] | None = None) -> Verdict:
    """Whether the tests see it. Raises NothingAsked."""
    begun = time.monotonic()
    with planted(bug, tree):
        status, output = _run(tree, tests or bug.tests)
    seconds = time.monotonic() - begun
    if status == 0:
        return Verdict(bug=bug, by="", seconds=seconds)
    if status is None:
        return Verdict(bug=bug, by="nothing ended any more", seconds=seconds)
    seen = SAW.search(output)
    if seen is None:
        raise NothingAsked(f"{bug.name!r}:\n{output[-2000:]}")
    return Verdict(bug=bug, by=seen[1], seconds=seconds)


def _run(tree: Path, tests: tuple[str, ...]) -> tuple[int | None, str]:
    """Exit status (None: it had to be ended) and output. One process, up to the first failure; the database is made once for all bugs."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-x",
        "--reuse-db",
        "-p",
        "no:cacheprovider",
        "--durations=0",
        "--tb=line",
        *tests,
    ]
    outer = ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    running = subprocess.Popen(
        words, cwd=tree, env=plain | {"PYTHONDONTWRITEBYTECODE": "1"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = running.communicate(timeout=LONGEST_S)
    except BaseException as end:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        if isinstance(end, subprocess.TimeoutExpired):
            return None, ""
        raise
    return running.returncode, output
