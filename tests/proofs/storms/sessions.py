"""What the database's server sees of the shop meanwhile: how many sessions it has, and how many of them wait for a lock."""

import threading
from types import TracebackType
from typing import Self

import psycopg

POLL_EVERY_S = 0.05
SEEN = """
SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity WHERE application_name LIKE 'shop-%'
"""


class Sessions:
    """Watched from another thread until the block ends: ``most`` at once, and ``most_waiting``."""

    def __init__(self, database: str) -> None:
        self.most, self.most_waiting = 0, 0
        self._connection = psycopg.connect(database, autocommit=True)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_EVERY_S):
            sessions, waiting = self.now()
            self.most, self.most_waiting = max(self.most, sessions), max(self.most_waiting, waiting)

    def now(self) -> tuple[int, int]:
        row = self._connection.execute(SEEN).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])
