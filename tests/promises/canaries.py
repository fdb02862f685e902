"""Canaries: marked values, and how they are planted in orders and passwords."""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.promises.conftest import Shop
from tests.proofs.black_box.orders import ADDRESS, body
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for

WORKER = f"canary@{socket.gethostname()}"
BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}")
RULE = f"canary_{uuid.uuid4().hex[:8]}"  # a constraint that rows with marked values break
# `make up` tells them the terminal that it was started from.
SAID_TO_THE_PERSON = ("API token", "operator token", "admin password", "Flower password")


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
    wait_for(lambda: all(effect["state"] in ("delivered", "dead") for effect in shop.order(numbers[3])["deliveries"]))
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


def broker(shop: Shop) -> Any:
    return redis.Redis(unix_socket_path=str(shop.stack.info["broker"].removeprefix("redis+socket://")))
