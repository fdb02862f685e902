"""One gunicorn process of the product, with one worker, on a real PostgreSQL. There is no broker: orders are placed, and the sweep would publish them."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from config.stack import commands, embedded
from tests.engines import ROOT
from tests.proofs import prepared
from tests.proofs.black_box.stack import NO_RATE_LIMITS

STARTS_WITHIN_S = 90.0
ODD_LINES = re.compile(r"Traceback|Worker exiting|WORKER TIMEOUT|SIGKILL|died| (?:ERROR|CRITICAL) ")
ODD_IN_THE_DATABASE = re.compile(r" (?:ERROR|FATAL|PANIC): ")
ANSWERED = re.compile(r" answered method=")  # one line of the access log


@dataclass(frozen=True)
class Shop:
    """``database``: its URL. ``token``: of the demo's client, which may do everything."""

    database: str
    token: str

    def token_of(self, client: str, *scopes: str) -> str:
        """Of a new client; for everything, unless ``scopes`` are named."""
        named = ["--scopes", ",".join(scopes)] if scopes else []
        return str(json.loads(_manage(self.database, "clients", "add", client, "--json", *named))["token"])

    def scopes(self) -> list[str]:
        """All that there are: the demo's client has them."""
        first, *_ = json.loads(_manage(self.database, "clients", "list", "--json"))["clients"]
        return list(first["tokens"][0]["scopes"])


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """A PostgreSQL of its own with the demo's shop. What an earlier run has left is removed: its tables may be older."""
    if (folder / "postgres").exists():
        embedded.stop_postgres(folder)
        shutil.rmtree(folder / "postgres")
    prepared.lay(folder)
    database = embedded.start_postgres(folder)
    try:
        prepared.migrate(database, ROOT)
        credentials = folder / "credentials.json"
        _manage(database, "seed", "--credentials", str(credentials))
        yield Shop(database, json.loads(credentials.read_text())["token"])
    finally:
        embedded.stop_postgres(folder)


def _manage(database: str, *words: str) -> bytes:
    """What the command prints."""
    run = subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=prepared.environment(database), capture_output=True)
    if run.returncode:
        raise RuntimeError(f"manage.py {words[0]} failed:\n{run.stderr.decode(errors='replace')[-3000:]}")
    return run.stdout


class Server:
    """``with Server(database, folder) as server:`` it answers on ``server.port``; what it writes is in ``server.log``, below the folder of the shop."""

    def __init__(self, database: str, folder: Path, **more: str) -> None:
        self.port = free_port()
        self.log = folder / "web.log"
        self.database_log = Path(parse_qs(urlsplit(database).query)["host"][0]) / "log"
        self._variables = {
            "DATABASE_URL": database,
            "CELERY_BROKER_URL": f"redis+socket://{folder}/no-broker",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "RUN_DIR": str(folder),
            "DEMO_VALUES": "1",
            "LOG_FORMAT": "line",
            **NO_RATE_LIMITS,
            **more,
        }

    def __enter__(self) -> Self:
        words = commands.PROCESSES["web"].command.replace("--workers 2", "--workers 1").split()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words, "--bind", f"127.0.0.1:{self.port}", "--no-control-socket"],
                cwd=ROOT, env=os.environ | self._variables, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        self.count_from_here()
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"gunicorn did not start:\n{self.text()[-3000:]}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def count_from_here(self) -> None:
        """``answered`` and ``errors_of_the_database`` tell what comes after this."""
        self._earlier_answers, self._earlier_errors = 0, 0
        self._earlier_answers, self._earlier_errors = self.answered(), len(self.errors_of_the_database())

    def answered(self) -> int:
        """How many requests were answered, by the access log."""
        return len(ANSWERED.findall(self.text())) - self._earlier_answers

    def odd_lines(self) -> list[str]:
        """Of its log: what no stranger may bring about."""
        return [line for line in self.text().splitlines() if ODD_LINES.search(line)]

    def errors_of_the_database(self) -> list[str]:
        """What a stranger has sent, and PostgreSQL could not take."""
        lines = self.database_log.read_text(errors="replace").splitlines()
        return [line for line in lines if ODD_IN_THE_DATABASE.search(line)][self._earlier_errors :]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
