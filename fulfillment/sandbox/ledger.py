"""The durable ledger: every effect, and every answer under its key, in one SQLite file. What was committed survives any kill.

The file is held exclusively: a second sandbox on it is refused. Methods run on one thread and never overlap.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fulfillment.sandbox.answers import Answer

SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (seq INTEGER PRIMARY KEY, order_number TEXT NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL,
    amount INTEGER, currency TEXT, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS effects_by_order ON effects (order_number);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tombstones (key TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tries (subject TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS charges (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, token TEXT NOT NULL, refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount));
CREATE TABLE IF NOT EXISTS labels (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_number TEXT NOT NULL, tracking TEXT NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0);
"""


class Ledger:
    """One open ledger file. Raises sqlite3.Error if the file is no ledger, cannot be written, or belongs to another sandbox."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        self._db.row_factory = sqlite3.Row
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it is on the disk when the block ends, or none of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def one(self, sql: str, *values: object) -> dict[str, Any] | None:
        """The first row, or None."""
        row = self._db.execute(sql, values).fetchone()
        return dict(row) if row else None

    def write(self, sql: str, *values: object) -> None:
        self._db.execute(sql, values)

    # --- effects ------------------------------------------------------------------------------------------------------

    def enter(self, order: str, operation: str, do_key: str, amount: int | None = None, currency: str | None = None) -> None:
        """One effect took place; ``do_key`` is the key of the charge or label, for its undo as well. Amount in minor units."""
        effect = (order, operation, do_key, amount, currency, _now())
        self.write("INSERT INTO effects (order_number, operation, key, amount, currency, at) VALUES (?, ?, ?, ?, ?, ?)", *effect)

    def effects(self, order: str | None) -> list[dict[str, Any]]:
        """What took place, in order; of one order if one is given."""
        columns = 'SELECT order_number AS "order", operation, key, amount, currency, at FROM effects'
        rows = self._db.execute(f"{columns} WHERE ?1 IS NULL OR order_number = ?1 ORDER BY seq", (order,))
        return [dict(row) for row in rows]

    # --- keys ---------------------------------------------------------------------------------------------------------

    def remember(self, key: str, digest: str, answer: Answer) -> None:
        self.write("INSERT INTO answers VALUES (?, ?, ?, ?)", key, digest, answer.status, json.dumps(answer.body))

    def remembered(self, key: str) -> tuple[str, Answer] | None:
        """The request digest and the answer that were remembered under ``key``."""
        row = self.one("SELECT * FROM answers WHERE key = ?", key)
        return (row["digest"], Answer(row["status"], json.loads(row["body"]), replayed=True)) if row else None

    def bury(self, key: str) -> None:
        """Leave a tombstone: nothing takes place under ``key`` from now on. Twice is once."""
        self.write("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", key, _now())

    def is_buried(self, key: str) -> bool:
        return self.one("SELECT 1 FROM tombstones WHERE key = ?", key) is not None

    def count_try(self, subject: str) -> int:
        """The number of this try, from 1; durable at once."""
        counted = self.one("INSERT INTO tries VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count", subject)
        assert counted is not None
        return int(counted["count"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
