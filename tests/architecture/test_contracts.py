"""Promise: arrows point down. The import contracts hold, and one that is broken is reported by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import ROOT
from tests.proofs.storms.newer import CODE, copy_code

BROKEN = [
    ("fulfillment/stock.py", "import fulfillment.engine", "Steps talk to gateways and stock, never to the engine, the journal or Celery"),
    ("fulfillment/explain.py", "import sideeffects.outbox", "Arrows point down: entry points, then core beside reactions"),
    ("orders/models.py", "import fulfillment.models", "Arrows point down: entry points, then core beside reactions"),
    ("sideeffects/outbox.py", "import celery", "Celery enters through two doors"),
    (
        "sideeffects/subscribers/email/subscriber.py",
        "import sideeffects.subscribers.loyalty.models",
        "Subscribers are unaware of each other",
    ),
]


def lint(folder: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, cwd=folder, env=os.environ | {"COLUMNS": "400"}, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_all_contracts_are_kept() -> None:
    code, told = lint(ROOT)

    assert code == 0, told
    assert "17 kept, 0 broken" in told


@pytest.mark.parametrize(("file", "forbidden", "contract"), BROKEN, ids=[file for file, _, _ in BROKEN])
def test_a_contract_broken_on_purpose_is_reported(tmp_path: Path, file: str, forbidden: str, contract: str) -> None:
    copy_code(tmp_path, (*CODE, "pyproject.toml"))
    target = tmp_path / file
    target.write_text(f"{target.read_text()}\n{forbidden}\n")

    code, told = lint(tmp_path)

    assert code == 1, told
    assert any(line.startswith(contract) and "BROKEN" in line for line in _unwrapped(told)), told


def _unwrapped(told: str) -> list[str]:
    """One line per contract, however the terminal wrapped them."""
    return told.replace(" \n", " ").splitlines()
