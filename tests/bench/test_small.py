"""Promise: the shows of ``python -m tests.bench`` work from beginning to end. Shown with few requests: their times say nothing here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import ROOT


@pytest.mark.timeout(300)
@pytest.mark.parametrize("show", ["accept", "disturbed"])
def test_a_small_show_measures_something_and_nothing_fails(show: str, tmp_path: Path) -> None:
    words = ["-m", "tests.bench", show, "--rounds", "1", "--seconds", "2", "--flood", "8", "--folder", str(tmp_path / "bench")]
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR")}

    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=outer, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    last = re.match(rf"{show}: (\d+) requests in 1 rounds, 0 failed", run.stdout.splitlines()[-1])
    assert last is not None, run.stdout
    assert int(last[1]) > 0
