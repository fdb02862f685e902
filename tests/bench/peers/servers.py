"""PostgreSQL and Valkey of the bench, as a stack of the shop starts them: both durable, reached through sockets, and nobody else's."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from config.stack import embedded
from config.stack.database import start_postgres
from config.stack.processes import Child, Command, note
from config.stack.stopping import stop_running
from tests.bench.peers.catalogue import Peer
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for

SCHEMA = Path(__file__).parent / "programs" / "schema.sql"
# DBOS keeps a connection for each thread; no checkpoint comes by time while something is measured.
SETTINGS = {"max_connections": "200", "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
OF_THE_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
WORKERS = 2


class PeerFailed(Exception):
    """A program ended with an error, stood still, or left wrong rows. Nothing of its run counts."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one running peer has for itself: a database, a numbered part of the broker, and a folder."""

    folder: Path
    database: str
    broker: str

    def variables(self, peer: Peer) -> dict[str, str]:
        """Of each process of the peer. Nothing of a shop that runs here: its variables would choose another database, or other settings."""
        outer = {name: value for name, value in os.environ.items() if name in OF_THE_MACHINE}
        own = {
            "BENCH_DATABASE": self.database,
            "BENCH_BROKER": self.broker,
            "BENCH_FOLDER": str(self.folder),
            "BENCH_WORKERS": str(WORKERS),
        }
        return {**outer, **own, **peer.variables}


class Servers:
    def __init__(self, folder: Path, admin_url: str, valkey: Child) -> None:
        self.folder = folder
        self.valkey = valkey
        self.broker = redis.Redis(unix_socket_path=str(embedded.valkey_socket(folder)))
        self._admin_url = admin_url
        self._prepared: set[str] = set()
        self._pids = {"valkey": valkey.pid}

    @property
    def database_pid(self) -> int:
        pid = embedded.postgres_pid(self.folder)
        if pid is None:
            raise PeerFailed("PostgreSQL has died.")
        return pid

    def place(self, peer: Peer, python: str, number: int) -> Place:
        """An empty database with the tables of the peer, an empty broker, and nothing left to be written to the disk. What had this number before is gone."""
        prepared, own = f"prepared_{peer.program.replace('.', '_')}", self._place(f"run{number}", number)
        if prepared not in self._prepared:
            self._prepare(peer, python, self._place(prepared, number), prepared)
        self._sql(f"DROP DATABASE IF EXISTS run{number} WITH (FORCE)", f"CREATE DATABASE run{number} TEMPLATE {prepared}", "CHECKPOINT")
        redis.Redis(unix_socket_path=str(embedded.valkey_socket(self.folder)), db=number).flushdb()
        return own

    def note(self, number: int, workers: int) -> None:
        """Who works at this place: for ``make stop``, should we be killed."""
        self._pids[f"workers{number}"] = workers
        note(self._pids, self.folder / "processes.json")

    def _place(self, name: str, number: int) -> Place:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        broker = f"{embedded.valkey_url(self.folder)}?virtual_host={number}"
        return Place(folder=folder, database=self._url(name), broker=broker)

    def _prepare(self, peer: Peer, python: str, place: Place, database: str) -> None:
        self._sql(f"CREATE DATABASE {database}")
        with psycopg.connect(place.database) as connection:
            connection.execute(SCHEMA.read_bytes())
        words = [python, "-m", peer.module, "setup"]
        run = subprocess.run(words, cwd=ROOT, env=place.variables(peer), capture_output=True, text=True)
        if run.returncode:
            raise PeerFailed(f"its tables could not be made:\n{run.stderr[-3000:]}")
        self._prepared.add(database)

    def _url(self, database: str) -> str:
        return self._admin_url.replace("/postgres?", f"/{database}?")

    def _sql(self, *statements: str) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def open_servers(folder: Path) -> Iterator[Servers]:
    """On an empty folder. Raises StackError: PostgreSQL did not start."""
    stop_running(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    embedded.close_folder(folder)
    try:
        url = _configured(folder)
        valkey = Child(Command("valkey", embedded.valkey_command(folder)), ROOT, folder / "valkey.log")
        servers = Servers(folder, url, valkey)
        note({"valkey": valkey.pid}, folder / "processes.json")
        try:
            wait_for(lambda: embedded.valkey_answers(folder))
            yield servers
        finally:
            valkey.ask_to_stop()
            valkey.wait_until_gone()
    finally:
        embedded.stop_postgres(folder)


def _configured(folder: Path, settings: Mapping[str, str] = SETTINGS) -> str:
    """Started anew: some of them are read at the start."""
    with psycopg.connect(start_postgres(folder), autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    embedded.stop_postgres(folder)
    return start_postgres(folder)
