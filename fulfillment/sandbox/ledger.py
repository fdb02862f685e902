"""The durable ledger: every effect, and every answer under its key, in one SQLite file. What was committed survives any kill.

The file is held exclusively: a second sandbox on it is refused. Methods run on one thread and never overlap.
Charges, labels, answers, tombstones and tries belong to a profile, by its name; effects are everybody's.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer
from fulfillment.sandbox.fields import Page
from fulfillment.sandbox.schema import SCHEMAS

Table = Literal["charges", "labels"]


class Ledger:
    """One open ledger file. Raises sqlite3.Error if the file is no ledger, cannot be written, or belongs to another sandbox."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives the files beside it the same mode
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        self._db.row_factory = sqlite3.Row
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._bring_forward()

    def _bring_forward(self) -> None:
        """The file has today's schema, and all that it held; each version in one transaction, so that a kill costs nothing."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(SCHEMAS):
            raise sqlite3.DatabaseError(f"it has schema {version}, this sandbox knows {len(SCHEMAS)}")
        for number, script in enumerate(SCHEMAS[version:], start=version + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

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

    def all(self, sql: str, *values: object) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(sql, values)]

    def write(self, sql: str, *values: object) -> None:
        self._db.execute(sql, values)

    # --- effects ------------------------------------------------------------------------------------------------------

    def enter(self, order: str, operation: str, do_key: str, amount: int | None = None, currency: str | None = None) -> None:
        """One effect took place; ``do_key`` is the key of the charge or label, for its compensation as well. Amount in minor units."""
        effect = (order, operation, do_key, amount, currency, now())
        self.write("INSERT INTO effects (order_number, operation, key, amount, currency, at) VALUES (?, ?, ?, ?, ?, ?)", *effect)

    def effects(self, order: str | None) -> list[dict[str, Any]]:
        """What took place, in order; of one order if one is given."""
        columns = 'SELECT order_number AS "order", operation, key, amount, currency, at FROM effects'
        return self.all(f"{columns} WHERE ?1 IS NULL OR order_number = ?1 ORDER BY seq", order)

    # --- charges and labels -------------------------------------------------------------------------------------------

    def by_id(self, table: Table, profile: str, its_id: str) -> dict[str, Any] | None:
        return self.one(f"SELECT * FROM {table} WHERE profile = ? AND id = ?", profile, its_id)

    def by_key(self, table: Table, profile: str, key: str) -> list[dict[str, Any]]:
        """All under ``key``, oldest first: more than one where the profile knows no keys, or forgot one."""
        return self.all(f"SELECT * FROM {table} WHERE profile = ? AND key = ? ORDER BY seq", profile, key)

    def page(self, table: Table, profile: str, asked: Page) -> tuple[list[dict[str, Any]], bool]:
        """The part of a profile's list that was asked for, oldest first, and whether there is more. Raises Problem."""
        # The + keeps SQLite from searching by instant, which it would do for each page anew.
        rows = self.all(
            f"SELECT * FROM {table} WHERE profile = ? AND seq > ? AND +at >= ? ORDER BY seq LIMIT ?",
            *(profile, self._start(table, profile, asked), asked.since, asked.limit + 1),
        )
        return rows[: asked.limit], len(rows) > asked.limit

    def _start(self, table: Table, profile: str, asked: Page) -> int:
        """The place before the first entry that was asked for."""
        if not (asked.after or asked.since):
            return 0
        if asked.after:
            found = self.by_id(table, profile, asked.after)
        else:
            found = self.one(
                f"SELECT coalesce(min(seq), 1 << 62) - 1 AS seq FROM {table} WHERE profile = ? AND at >= ?", profile, asked.since
            )
        if found is None:
            raise fields.invalid("after", "is no entry of this list.")
        return int(found["seq"])

    # --- keys ---------------------------------------------------------------------------------------------------------

    def remember(self, profile: str, key: str, digest: str, answer: Answer) -> None:
        self.write("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", profile, key, digest, answer.status, json.dumps(answer.body))

    def remembered(self, profile: str, key: str) -> tuple[str, Answer] | None:
        """The request digest and the answer that were remembered under ``key``."""
        row = self.one("SELECT * FROM answers WHERE profile = ? AND key = ?", profile, key)
        return (row["digest"], Answer(row["status"], json.loads(row["body"]), replayed=True)) if row else None

    def forget(self, profile: str, key: str) -> bool:
        """The answer under ``key`` is pruned; what was done stays done, and so does a tombstone. False: there was none."""
        return self.one("DELETE FROM answers WHERE profile = ? AND key = ? RETURNING key", profile, key) is not None

    def bury(self, profile: str, key: str) -> None:
        """Leave a tombstone: nothing takes place under ``key`` from now on. Twice is once."""
        self.write("INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?)", profile, key, now())

    def is_buried(self, profile: str, key: str) -> bool:
        return self.one("SELECT 1 FROM tombstones WHERE profile = ? AND key = ?", profile, key) is not None

    def count_try(self, profile: str, subject: str) -> int:
        """The number of this try, from 1; durable at once."""
        counting = "INSERT INTO tries VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count"
        counted = self.one(counting, profile, subject)
        assert counted is not None
        return int(counted["count"])


def now() -> str:
    """An instant, UTC; as texts they sort as they follow."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
