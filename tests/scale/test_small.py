"""Promise: the shop of a million orders is one in which nothing is off, so that what is measured on it is the work and not its findings. Shown with few."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import ROOT


@pytest.mark.timeout(120)
def test_a_reconciliation_finds_nothing_in_it(tmp_path: Path) -> None:
    words = ["-m", "tests.scale", "--orders", "120", "--newest", "20", str(tmp_path / "scale"), "manage.py", "reconcile", "--json"]
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR")}

    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=outer, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert '"findings": []' in run.stdout
