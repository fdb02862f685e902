"""One gunicorn process of the product, with one worker, on a real PostgreSQL. There is no broker: orders are placed, and the sweep would publish them."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from config.stack import commands, embedded
from tests.engines import ROOT
from tests.proofs import prepared
from tests.proofs.black_box.stack import NO_RATE_LIMITS

STARTS_WITHIN_S = 90.0
ODD_LINES = re.compile(r"Traceback|Worker exiting|WORKER TIMEOUT|SIGKILL|died")


@contextmanager
def shop(folder: Path) -> Iterator[tuple[str, str]]:
    """A PostgreSQL of its own with the demo's shop: its URL, and the token of the demo's client."""
    prepared.lay(folder)
    database = embedded.start_postgres(folder)
    try:
        prepared.migrate(database, ROOT)
        credentials = folder / "credentials.json"
        words = [sys.executable, "manage.py", "seed", "--credentials", str(credentials)]
        subprocess.run(words, cwd=ROOT, env=prepared.environment(database), check=True, capture_output=True)
        yield database, json.loads(credentials.read_text())["token"]
    finally:
        embedded.stop_postgres(folder)


class Server:
    """``with Server(database, folder) as server:`` it answers on ``server.port``; what it writes is in ``server.log``."""

    def __init__(self, database: str, folder: Path, **more: str) -> None:
        self.port = free_port()
        self.log = folder / "web.log"
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
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"gunicorn did not start:\n{self.text()[-3000:]}")
            time.sleep(0.2)
        return self

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

    def odd_lines(self) -> list[str]:
        """Of its log: what no stranger may bring about."""
        return [line for line in self.text().splitlines() if ODD_LINES.search(line)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
