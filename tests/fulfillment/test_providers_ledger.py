"""A ledger file outlives the sandbox that wrote it: an older one is brought forward, and nothing in it is lost."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
AT = "2026-01-0{day}T10:00:00.000000+00:00"
OLD = """
CREATE TABLE effects (seq INTEGER PRIMARY KEY, order_number TEXT NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL,
    amount INTEGER, currency TEXT, at TEXT NOT NULL);
CREATE INDEX effects_by_order ON effects (order_number);
CREATE TABLE answers (key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE tombstones (key TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE tries (subject TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE charges (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, token TEXT NOT NULL, refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount));
CREATE TABLE labels (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, tracking TEXT NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0);
"""
DIGEST = "7f0a"  # of nothing that is ever asked again


@pytest.fixture
def old_ledger(tmp_path: Path) -> Path:
    """As the first version of the sandbox left it: two charges, a refund, a cancelled label, a tombstone, a count of tries."""
    path = tmp_path / "ledger.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(OLD)
    effects = [
        ("ORD-1", "charge", "ORD-1:payment:do:1", 8420, "EUR", AT.format(day=1)),
        ("ORD-2", "charge", "ORD-2:payment:do:1", 100, "EUR", AT.format(day=2)),
        ("ORD-2", "refund", "ORD-2:payment:do:1", 40, "EUR", AT.format(day=3)),
        ("ORD-1", "label", "ORD-1:shipping:do:1", None, None, AT.format(day=4)),
        ("ORD-1", "cancel_label", "ORD-1:shipping:do:1", None, None, AT.format(day=5)),
    ]
    db.executemany("INSERT INTO effects (order_number, operation, key, amount, currency, at) VALUES (?, ?, ?, ?, ?, ?)", effects)
    db.execute("INSERT INTO charges VALUES ('ch_z', 'ORD-1:payment:do:1', 'ORD-1', 8420, 'EUR', 'tok_refund_flaky_2', 0)")
    db.execute("INSERT INTO charges VALUES ('ch_a', 'ORD-2:payment:do:1', 'ORD-2', 100, 'EUR', 'tok_ok', 40)")
    db.execute("INSERT INTO labels VALUES ('lb_1', 'ORD-1:shipping:do:1', 'ORD-1', 'MO1', 1)")
    db.execute("INSERT INTO answers VALUES ('ORD-1:payment:do:1', ?, 201, ?)", (DIGEST, json.dumps({"id": "ch_z"})))
    db.execute("INSERT INTO tombstones VALUES ('ORD-3:payment:do:1', ?)", (AT.format(day=5),))
    db.execute("INSERT INTO tries VALUES ('compensation of ch_z', 1)")
    db.commit()
    db.close()
    return path


def test_an_old_ledger_is_brought_forward(old_ledger: Path, new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Effects, charges, labels, answers, tombstones and tries are the plain provider's, in their order and with their instants."""
    provider = new_sandbox()

    charges = provider.client.get("/v1/charges").json()
    assert [(charge["id"], charge["refunded"]) for charge in charges["data"]] == [("ch_z", 0), ("ch_a", 40)]
    assert [
        label["id"] for label in provider.client.get("/v1/labels", params={"since": AT.format(day=4)}).json()["data"] if label["cancelled"]
    ] == ["lb_1"]
    since = provider.client.get("/v1/charges", params={"since": "2026-01-02T11:00:00+01:00"}).json()
    assert [charge["id"] for charge in since["data"]] == ["ch_a"]
    assert [len(provider.ledger(order)) for order in ("ORD-1", "ORD-2")] == [3, 2]
    assert provider.charge("ORD-1").json()["error"]["code"] == "key_reused"
    assert provider.charge("ORD-3").json()["error"]["code"] == "cancelled_by_key"
    refunds = [provider.post("/v1/refunds", f"u{number}", charge="ch_z", amount=8420).status_code for number in range(2)]
    assert refunds == [503, 201]
    assert provider.client.get("/burn/v1/charges").json() == {"data": [], "has_more": False}


def test_it_is_brought_forward_once(old_ledger: Path, new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Started again, it finds what it left."""
    provider = new_sandbox()
    provider.charge("ORD-4")
    before = [provider.client.get(path).json() for path in ("/ledger", "/v1/charges", "/v1/labels")]

    provider.end()
    provider.start()

    assert [provider.client.get(path).json() for path in ("/ledger", "/v1/charges", "/v1/labels")] == before


def test_a_ledger_of_a_newer_sandbox_is_left_alone(old_ledger: Path) -> None:
    """Whoever goes back a version is told, and the file is as it was."""
    db = sqlite3.connect(old_ledger)
    db.execute("PRAGMA user_version = 99")
    db.close()
    program = "import pathlib; from fulfillment.sandbox.server import run; run(0, pathlib.Path({!r}), 1.0, True)"

    ended = subprocess.run([sys.executable, "-c", program.format(str(old_ledger))], cwd=ROOT, capture_output=True, text=True, timeout=10)

    assert ended.returncode == 1 and "it has schema 99, this sandbox knows 2" in ended.stderr
    db = sqlite3.connect(old_ledger)
    assert db.execute("SELECT count(*) FROM charges").fetchone() == (2,)
    db.close()
