"""Promise: doctor warns of a replica that may be promoted and does not have every commit. Asked of a real standby."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from config.stack import embedded
from orders import sessions
from orders.findings import Finding
from orders.findings.sessions import replicas
from tests.engines import RUN_DIR
from tests.proofs.black_box.waiting import wait_for

DATA = RUN_DIR / "unit" / "postgres"  # of the tests' own server: its programs are used, and whoever it runs as
PRIMARY, STANDBY = "5432", "5433"  # names of sockets
WITHOUT_TCP = ("-h", "", "-c", "fsync=off")


class Servers:
    """A primary, and what copies it, in a folder that ends with the test."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self.folder, self.ending = folder, ending
        pid, owner = embedded.postgres_pid(DATA.parent), DATA.stat()
        assert pid
        self.programs = Path(psutil.Process(pid).exe())
        self.owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}  # no server runs as root
        os.chown(folder, owner.st_uid, owner.st_gid)
        self.run("initdb", "-D", folder / "primary", "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
        self.serve("primary", PRIMARY)

    def run(self, program: str, *words: object) -> None:
        done = subprocess.run(self._line(program, *words), **self._how(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def begin(self, program: str, *words: object) -> None:
        process = subprocess.Popen(self._line(program, *words), **self._how(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.ending.callback(process.wait, 20)
        self.ending.callback(process.send_signal, signal.SIGINT)

    def serve(self, name: str, port: str) -> None:
        self.begin("postgres", "-D", self.folder / name, "-k", self.folder, "-p", port, *WITHOUT_TCP)
        wait_for(lambda: embedded.postgres_answers(self.url(port)))

    def replicate(self) -> None:
        """A standby that follows the primary."""
        words = ("-D", self.folder / "standby", "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.run("pg_basebackup", "-d", f"{self.url(PRIMARY)}&application_name=second", *words)
        self.serve("standby", STANDBY)

    def keep_the_log(self) -> None:
        """As a backup does: it copies everything, and can take nobody's place."""
        self.begin("pg_receivewal", "-d", self.url(PRIMARY), "-D", self.folder, "--no-sync")

    def url(self, port: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/postgres?host={self.folder}&port={port}"

    def connect(self, user: str = "postgres") -> psycopg.Connection[Any]:
        return self.ending.enter_context(psycopg.connect(self.url(PRIMARY, user), autocommit=True))

    def _line(self, program: str, *words: object) -> list[str]:
        return [str(self.programs.with_name(program)), *map(str, words)]

    def _how(self) -> dict[str, Any]:
        return {**self.owner, "cwd": self.folder}


@pytest.fixture
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="replicas") as folder, ExitStack() as ending:
        yield Servers(Path(folder), ending)


def finding_of(connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setattr(sessions, "connection", connection)
    (finding,) = replicas()
    return finding


def states(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1"
    ).fetchall()


@pytest.mark.timeout(60)
def test_a_replica_that_may_lack_the_last_commits_is_named(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promoted, it would know nothing of the order that I have just paid."""
    primary = servers.connect()
    primary.execute("CREATE ROLE shop LOGIN")
    assert finding_of(primary, monkeypatch) == Finding(level="ok", what="replicas", found="none is connected")

    servers.replicate()
    servers.keep_the_log()
    wait_for(lambda: states(primary) == [("pg_receivewal", "async"), ("second", "async")])

    asynchronous = finding_of(primary, monkeypatch)
    assert asynchronous.level == "warn"
    assert asynchronous.found == (
        "1 of 1 replicas is asynchronous (second): one that is promoted has lost the last commits"
        " (customers may be charged for orders that nobody knows)"
    )
    assert asynchronous.to_do == "set synchronous_standby_names, or never promote it without `python manage.py recover --restored`"

    stranger = finding_of(servers.connect("shop"), monkeypatch)
    assert stranger.level == "ok"
    assert stranger.found == "1 connected; whether they are synchronous cannot be seen by this login (GRANT pg_monitor would let it)"

    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'second'")
    primary.execute("SELECT pg_reload_conf()")
    wait_for(lambda: ("second", "sync") in states(primary))

    assert finding_of(primary, monkeypatch) == Finding(level="ok", what="replicas", found="1 connected, all synchronous")

    primary.execute("SET synchronous_commit = local")
    assert finding_of(primary, monkeypatch).level == "warn", "it is synchronous, and no commit waits for it"
