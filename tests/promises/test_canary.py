"""Promise: what a customer tells the shop, and what lets anybody in, stands in no log, message, page, process list or file that others can read.

Marked values (canaries) are planted in orders that succeed and that fail in several ways, and in the passwords of processes; then every place is searched.
"""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from tests.promises.conftest import Shop
from tests.proofs.black_box.orders import ADDRESS, body
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for

WORKER = f"canary@{socket.gethostname()}"
ASK = """
import json, sys
from config.celery import app
asked = app.control.inspect(destination=[sys.argv[1]], timeout=5)
print(json.dumps([asked.conf(with_defaults=True), asked.stats(), asked.report(), asked.registered()]))
"""
BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}")
RULE = f"canary_{uuid.uuid4().hex[:8]}"  # a constraint that rows with marked values break
ALONE = stat.S_IRWXG | stat.S_IRWXO  # what nobody but the owner may have
SAID_TO_THE_PERSON = (
    "API token",
    "operator token",
    "admin password",
    "Flower password",
)  # `make up` tells them the terminal that it was started from


def mark() -> str:
    return f"canary{uuid.uuid4().hex[:16]}"


def readable(content: bytes) -> bytes:
    """With what stands in it in base64, as the bodies of all messages do."""
    return b"\n".join([content, *(base64.b64decode(text[: len(text) // 4 * 4]) for text in BASE64.findall(content))])


class Planted:
    """What is looked for, by what it is; and where it was found."""

    def __init__(self) -> None:
        self.marks: dict[str, bytes] = {}
        self.places = 0
        self.found: list[str] = []

    def plant(self, what: str, value: str = "") -> str:
        value = value or mark()
        self.marks[what] = value.lower().encode()
        return value

    def search(self, place: str, content: bytes, but: tuple[str, ...] = ()) -> None:
        self.places += 1
        lowered = readable(content).lower()
        self.found += [f"{what} in {place}" for what, value in self.marks.items() if what not in but and value in lowered]


@pytest.fixture
def planted(shop: Shop) -> Planted:
    info, run_dir = shop.stack.info, shop.stack.run_dir
    planted = Planted()
    planted.plant("API token", info["token"])
    planted.plant("operator token", info["operator_token"])
    planted.plant("admin password", info["admin"]["password"])
    for what, name in (("mail password", "mail_password"), ("secret key", "secret_key"), ("Flower password", "flower_password")):
        if (run_dir / name).exists():
            planted.plant(what, (run_dir / name).read_text())
    return planted


def test_marked_values_are_found_nowhere(shop: Shop, planted: Planted, tell: Callable[[str], None]) -> None:
    """What I entrust to the shop is read by those who work on my order, and by nobody who merely has an account on its machine."""
    with by_hand(shop, planted) as flower, overheard(shop) as events:
        orders = place_all_kinds(shop, planted)

        look_into_flower(planted, shop.stack.info["flower"], orders, own_login(shop))
        look_into_flower(planted, flower, orders, ("canary", "canary-login"))
        planted.search("celery inspect", inspected(shop))
        look_into_processes(planted)
        look_into_the_broker(shop, planted)
        heard = events()
        assert b"task-succeeded" in readable(heard)
        planted.search("events", heard)
    look_into_logs(shop, planted)
    open_to_others = look_into_files(shop, planted)

    tell(f"canary: {planted.places} places searched, {len(planted.marks)} marks planted, {len(planted.found)} found")
    assert planted.places > 50
    assert len(planted.marks) >= 12
    assert (sorted(planted.found), open_to_others) == ([], [])


# --- what is planted ------------------------------------------------------------------------------------------------------


def place_all_kinds(shop: Shop, planted: Planted) -> list[str]:
    """Orders of one customer: one that succeeds, and those that fail at the provider, at the mail server and at our own database. Returns their numbers."""
    email = planted.plant("e-mail", f"{mark()}@example.com")
    token = planted.plant("payment token", f"card_{mark()}")
    wanted = body(email=email)
    wanted["customer"]["name"] = planted.plant("name")
    wanted["shipping_address"] = ADDRESS | {
        "name": planted.plant("recipient"),
        "line1": planted.plant("street"),
        "city": planted.plant("city"),
    }

    def place(**changes: object) -> httpx.Response:
        return shop.post(wanted | changes)

    with refused_by_the_database(shop, f"customer_email <> '{email}' OR payment_token <> 'tok_flaky_2'"):
        assert place(payment={"token": "tok_flaky_2"}).status_code == 500
    assert place(lines=[]).status_code == 400
    refused = wanted["shipping_address"] | {"postal_code": "00422"}
    bounced = wanted["customer"] | {"email": "bounce@example.com"}
    answers = [place(), place(payment={"token": token}), place(shipping_address=refused), place(customer=bounced)]
    with refused_by_the_database(shop, f"customer_email <> '{email}' OR payment_token <> 'tok_timeout_charged' OR status = 'placed'"):
        answers.append(place(payment={"token": "tok_timeout_charged"}))
        assert [answer.status_code for answer in answers] == [201] * 5
        wait_for(lambda: RULE in (shop.stack.run_dir / "log" / "saga.log").read_text())
    numbers = [str(answer.json()["number"]) for answer in answers]
    ends = [shop.ends(number, 60) for number in numbers]
    assert ends == ["fulfilled", "payment_failed", "shipping_failed", "fulfilled", "fulfilled"]
    wait_for(lambda: all(effect["state"] in ("delivered", "dead") for effect in shop.order(numbers[3])["side_effects"]))
    return numbers


@contextlib.contextmanager
def refused_by_the_database(shop: Shop, rule: str) -> Iterator[None]:
    """Rows that break ``rule`` are refused meanwhile, and PostgreSQL tells of the whole row."""
    shop.run(f"ALTER TABLE orders_order ADD CONSTRAINT {RULE} CHECK ({rule}) NOT VALID")
    try:
        yield
    finally:
        shop.run(f"ALTER TABLE orders_order DROP CONSTRAINT {RULE}")


@contextlib.contextmanager
def by_hand(shop: Shop, planted: Planted) -> Iterator[str]:
    """A worker and a Flower with passwords in each of their URLs, in another terminal; yields the address of Flower."""
    passwords = {what: planted.plant(f"{what} password") for what in ("broker", "database", "mail login")}
    path = shop.stack.info["broker"].removeprefix("redis+socket://")
    broker(shop).execute_command("ACL", "SETUSER", "canary", "on", f">{passwords['broker']}", "~*", "&*", "+@all")
    database = shop.stack.info["database"].replace("postgres:@", f"postgres:{passwords['database']}@")
    assert passwords["database"] in database
    variables = {
        "CELERY_BROKER_URL": f"redis+socket://canary:{passwords['broker']}@{path}",
        "DATABASE_URL": database,
        "EMAIL_URL": f"smtp://canary:{passwords['mail login']}@127.0.0.1:2525",
        "FLOWER_BASIC_AUTH": "canary:canary-login",
    }
    port = free_port()
    log = shop.stack.run_dir / "log"
    words = {
        "canary-worker": ["worker", "-P", "solo", "-Q", "canary", "-n", "canary@%h", "--without-gossip", "--without-mingle", "-l", "INFO"],
        "canary-flower": ["flower", "--address=127.0.0.1", f"--port={port}"],
    }
    running = [start(shop, log / f"{name}.log", *argv, **variables) for name, argv in words.items()]
    try:
        wait_for(lambda: listens(port), 90)
        wait_for(lambda: " ready." in (log / "canary-worker.log").read_text(), 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)
        broker(shop).execute_command("ACL", "DELUSER", "canary")


def start(shop: Shop, log: Path, *words: str, **variables: str) -> "subprocess.Popen[bytes]":
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config", *words],
            cwd=FOLDER,
            env=os.environ | {"RUN_DIR": str(shop.stack.run_dir), "SAGA_PROCESS": "worker"} | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- where it is looked for -----------------------------------------------------------------------------------------------


def broker(shop: Shop) -> Any:
    return redis.Redis(unix_socket_path=str(shop.stack.info["broker"].removeprefix("redis+socket://")))


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


def look_into_the_broker(shop: Shop, planted: Planted) -> None:
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


def look_into_flower(planted: Planted, url: str, orders: list[str], login: tuple[str, str]) -> None:
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers?refresh=1", "/api/tasks"]
    names = [f"{name}@{socket.gethostname()}" for name in ("saga", "sideeffects", "canary")]
    pages += [f"/worker/{name}" for name in names]
    pages += [f"/task/{order}.{step}.e1" for order in orders for step in ("payment", "inventory", "shipping", "undo_payment")]
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


def look_into_processes(planted: Planted) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            planted.search(f"the command line of {process.name()}", "\0".join(process.cmdline()).encode())


def look_into_logs(shop: Shop, planted: Planted) -> None:
    run_dir = shop.stack.run_dir
    logs = [*(run_dir / "log").iterdir(), run_dir / "postgres" / "log"]
    assert len(logs) > 10
    for log in logs:
        planted.search(f"log {log.name}", log.read_bytes())
    for log in (run_dir / "log" / "web.log", run_dir / "log" / "saga.log", run_dir / "postgres" / "log"):
        assert f'violates check constraint "{RULE}"' in log.read_text(errors="replace"), f"{log.name} does not tell of what failed"
    planted.search("the terminal's log", (run_dir / "up.log").read_bytes(), but=SAID_TO_THE_PERSON)


def look_into_files(shop: Shop, planted: Planted) -> list[str]:
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
