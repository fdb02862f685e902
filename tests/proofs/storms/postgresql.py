"""What a storm does to the stack's PostgreSQL: stops it without a shutdown, takes a base backup while it runs, and puts that in the place of its data."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from tests.proofs.black_box.processes import standing_still
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.storm import Storm


def stop_postgres(storm: Storm, down_s: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """As ``pg_ctl stop -m immediate`` (SIGQUIT). Whoever starts it again stands still meanwhile."""
    with standing_still([storm.stack.process.pid]):
        dead = storm.stack.pid("postgres")
        os.kill(dead, signal.SIGQUIT)
        wait_for(lambda: not _is_alive(dead), 20)
        meanwhile()
        time.sleep(down_s)
    wait_for(lambda: storm.stack.pid("postgres") != dead, 30)


def back_up(storm: Storm) -> Path:
    """A base backup: what is committed until this call ends, in a folder of its own. Clients go on meanwhile. Raises RuntimeError."""
    server = Path(psutil.Process(storm.stack.pid("postgres")).exe())
    data, folder = storm.run_dir / "postgres", storm.run_dir / "backup"
    _give(data.iterdir(), data)  # the server reads all of it, also what its starter has put there
    words = [str(server.with_name("pg_basebackup")), "-d", storm.stack.info["database"], "-D", str(folder), "-X", "stream", "-c", "fast"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise RuntimeError(f"there is no base backup: {run.stderr}")
    return folder


def put_back(storm: Storm, backup: Path) -> None:
    """In the place of the data, while the server is dead. What is lost stays in ``postgres-lost``, to be looked at."""
    data = storm.run_dir / "postgres"
    _give((backup, *backup.rglob("*")), data)
    data.rename(storm.run_dir / "postgres-lost")
    backup.rename(data)


def _give(paths: Iterable[Path], data: Path) -> None:
    """To whoever the server runs as, which is not root."""
    owner = data.stat()
    for path in paths:
        os.chown(path, owner.st_uid, owner.st_gid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
