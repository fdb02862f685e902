"""Promise: programs outside of the shop hear of what happens to an order, whoever is killed meanwhile, and a bus that stands still keeps no side effect waiting."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines import ROOT
from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for


@contextmanager
def another(shop: Shop, log: Path, *words: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the shop, in another terminal, until the end of the block."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    own = {"RUN_DIR": str(shop.stack.run_dir), "DEMO_VALUES": "1", "TIME_SCALE": "0.1", "PYTHONUNBUFFERED": "1"} | variables
    with (
        log.open("wb") as out,
        subprocess.Popen([sys.executable, "manage.py", *words], cwd=ROOT, env=outer | own, stdout=out, stderr=out) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def fulfilled(log: Path) -> list[str]:
    """The orders whose event has come, as often as it has."""
    events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return [event["subject"] for event in events if event["type"] == "order.fulfilled"]


def test_every_order_is_heard_of_though_the_relay_is_killed_again_and_again(shop: Shop, tmp_path: Path) -> None:
    """My warehouse's own system hears of my order too."""
    log, numbers = tmp_path / "log", []
    newest = json.loads(shop.manage("bus", "--json").stdout)["newest"]
    with another(shop, log, "consume", "order.*", "--json", "--from", str(newest + 1)) as consumer:
        for _ in range(3):
            numbers += [shop.place() for _ in range(4)]
            shop.wait_for_respawn("relay", shop.kill_whole("relay"))
        assert {shop.ends(number) for number in numbers} == {"fulfilled"}
        wait_for(lambda: set(numbers) <= set(fulfilled(log)), 30)

    assert consumer.returncode == 0
    assert len(fulfilled(log)) == len(set(fulfilled(log))), "the stream refuses what it has already"


def test_a_bus_that_stands_still_keeps_no_side_effect_waiting(shop: Shop, tmp_path: Path) -> None:
    """It takes connections and answers nothing. Another relay than the stack's asks it: that one's bus is well."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as mute, shop.stopped("relay"):
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        with another(shop, log, "relay", BUS_URL=url, BUS_NAME="mute"):
            with shop.stopped("sideeffects"):
                number = shop.place()
                assert shop.ends(number) == "fulfilled"
                shop.forget_messages("sideeffects")
            wait_for(lambda: [one["state"] for one in shop.order(number)["deliveries"]] == ["delivered"] * 4, 60)
            wait_for(lambda: "the bus (Valkey) has not taken or answered" in log.read_text(), 30)
