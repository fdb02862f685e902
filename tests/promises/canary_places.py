"""Every place in which canaries are looked for."""

import contextlib
import json
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil

from tests.promises.canaries import RULE, SAID_TO_THE_PERSON, WORKER, Planted, broker
from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

ASK = """
import json, sys
from config.celery import app
asked = app.control.inspect(destination=[sys.argv[1]], timeout=5)
print(json.dumps([asked.conf(with_defaults=True), asked.stats(), asked.report(), asked.registered()]))
"""
ALONE = stat.S_IRWXG | stat.S_IRWXO  # what nobody but the owner may have


@contextlib.contextmanager
def overheard(shop: Shop) -> Iterator[Callable[[], bytes]]:
    """Everything that the workers tell while an order is worked on."""
    listener = broker(shop).pubsub()
    listener.psubscribe("*")

    def heard() -> bytes:
        messages = iter(lambda: listener.get_message(timeout=0.2), None)
        return b"\n".join(repr(message).encode() for message in messages)

    yield heard
    listener.close()


def search_the_broker(shop: Shop, planted: Planted) -> None:
    """Each key, and the file in which messages outlive a restart."""
    client = broker(shop)
    for key in client.scan_iter():
        planted.search(f"broker key {key!r}", key + (client.dump(key) or b""))
    for file in (shop.stack.run_dir / "valkey").rglob("*"):
        if file.is_file():
            planted.search(
                f"broker file {file.name}", file.read_bytes(), but=("broker password",)
            )  # an ACL command of this test stands in it


def own_login(shop: Shop) -> tuple[str, str]:
    given: Mapping[str, str] = shop.stack.info.get("flower_login", {"username": "", "password": ""})
    return given["username"], given["password"]


def search_flower(planted: Planted, url: str, orders: list[str], login: tuple[str, str]) -> None:
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers?refresh=1", "/api/tasks"]
    names = [f"{name}@{socket.gethostname()}" for name in ("saga", "sideeffects", "canary")]
    pages += [f"/worker/{name}" for name in names]
    pages += [f"/task/{order}.{step}.e1" for order in orders for step in ("payment", "inventory", "shipping", "compensate_payment")]
    pages += [f"/task/{order}.{subscriber}.1" for order in orders for subscriber in ("email", "loyalty")]
    seen = 0
    with httpx.Client(base_url=url, auth=login, timeout=20) as flower:
        wait_for(lambda: flower.get("/healthcheck").status_code == 200)
        for page in pages:
            answer = flower.get(page)
            seen += answer.status_code == 200
            planted.search(f"Flower's {page}", answer.content)
    assert seen >= 10


def inspected(shop: Shop) -> bytes:
    """What the by-hand worker answers to `celery inspect`."""
    run = shop.python("-c", ASK, WORKER)
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[-1])
    assert all(answers), answers
    return run.stdout.encode()


def search_processes(planted: Planted) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            planted.search(f"the command line of {process.name()}", "\0".join(process.cmdline()).encode())


def search_logs(shop: Shop, planted: Planted) -> None:
    run_dir = shop.stack.run_dir
    logs = [*(run_dir / "log").iterdir(), run_dir / "postgres" / "log"]
    assert len(logs) > 10
    for log in logs:
        planted.search(f"log {log.name}", log.read_bytes())
    for log in (run_dir / "log" / "web.log", run_dir / "log" / "saga.log", run_dir / "postgres" / "log"):
        assert f'violates check constraint "{RULE}"' in log.read_text(errors="replace"), f"{log.name} does not tell of what failed"
    planted.search("the terminal's log", (run_dir / "up.log").read_bytes(), but=SAID_TO_THE_PERSON)


def search_files(shop: Shop, planted: Planted) -> list[str]:
    """Searches what others can read; returns what others may read or write at all, sockets included, and should not."""
    run_dir, open_to_others = shop.stack.run_dir, []
    for path in run_dir.rglob("*"):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode) or not mode & ALONE or is_closed(path.parent, run_dir):
            continue
        if stat.S_ISDIR(mode):
            continue
        open_to_others.append(f"{path.relative_to(run_dir)} {stat.filemode(mode)}")
        if stat.S_ISREG(mode):
            planted.search(f"open file {path.relative_to(run_dir)}", path.read_bytes())
    planted.places += 1
    return open_to_others


def is_closed(folder: Path, run_dir: Path) -> bool:
    """Others cannot get into it, or into one that it stands in."""
    inside = [folder, *folder.parents]
    return any(not place.stat().st_mode & (stat.S_IXOTH | stat.S_IXGRP) for place in inside[: inside.index(run_dir) + 1])
