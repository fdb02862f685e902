"""Promise: a program of thirty lines, in any language, hears of every event, also when it is killed meanwhile."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sideeffects import bus
from tests.config.bare import Broker, RabbitBroker
from tests.debian import needed
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for
from tests.sideeffects.bus.conftest import NumberedFacts
from tests.sideeffects.bus.test_bus import always

pytestmark = pytest.mark.processes

EXAMPLES = ROOT / "docs" / "examples" / "bus"
AMQPLIB = "amqplib@2.3.1"


@contextmanager
def running(words: list[str], log: Path, **more: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Killed at the end."""
    with log.open("ab") as out, subprocess.Popen(words, stdout=out, stderr=out, **more) as program:
        try:
            yield program
        finally:
            program.send_signal(signal.SIGKILL)


def test_the_reader_in_python_counts_each_event_once_though_it_is_killed(
    on_valkey: bus.Bus, numbered: NumberedFacts, valkey: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "sold.json"
    url = valkey.url.replace("redis+socket", "unix")

    expected: Counter[str] = Counter()

    def counted() -> bool:
        return file.exists() and json.loads(file.read_text())["sold"] == expected

    for _ in range(2):
        expected.update({line["sku"]: line["quantity"] * 20 for line in numbered(20)[0].payload["lines"]})
        bus.run_round(on_valkey, always)
        with running([sys.executable, str(EXAMPLES / "reader.py"), url, str(file)], tmp_path / "log"):
            wait_for(counted, 20)


@pytest.fixture(scope="module")
def with_amqplib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npm")
    npm = needed(lambda: shutil.which("npm"), "nodejs npm", "Node.js with npm")
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", AMQPLIB], cwd=folder, check=True, timeout=120)
    shutil.copy(EXAMPLES / "reader.js", folder)
    return folder


def test_the_reader_in_javascript_gets_each_event_though_it_is_killed(
    db: None, settings: Any, rabbit: RabbitBroker, numbered: NumberedFacts, with_amqplib: Path
) -> None:
    settings.BUS_URL = rabbit.url
    on_rabbit, log = bus.connect(), with_amqplib / "log"
    bus.run_round(on_rabbit, always)
    words = ["node", str(with_amqplib / "reader.js"), rabbit.url.replace("//guest", "//guest", 1).removesuffix("//"), "sold"]

    expected: set[str] = set()

    def got_all() -> bool:
        return {line for line in log.read_text().splitlines() if line.startswith("ORD-")} == expected

    for _ in range(2):
        with running(words, log, cwd=with_amqplib):
            wait_for(lambda: "reading" in log.read_text(), 20)
        new = numbered(10)  # while it is down
        expected |= {f"{fact.order.number} {line['sku']} {line['quantity']}" for fact in new for line in fact.payload["lines"]}
        bus.run_round(on_rabbit, always)
        with running(words, log, cwd=with_amqplib):
            wait_for(got_all, 20)
