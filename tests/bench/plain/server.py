"""The plain service, running: as the shop's web process, by the same command, on the same database server, and with the same rows in its catalogue."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from config.stack.commands import PROCESSES, answers
from config.stack.processes import Child, Command, note
from tests.bench.arrivals import Request, Target
from tests.bench.shop import LINES, PLAIN, MeasuredShop
from tests.proofs.black_box.orders import ADDRESS, GOOD_CARD
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for

SETTINGS = "tests.bench.plain.settings"
UP_WITHIN_S = 60.0


@dataclass(frozen=True, kw_only=True)
class PlainService:
    """``pid``: of its gunicorn."""

    pid: int
    orders: Target


@contextmanager
def plain_service(shop: MeasuredShop, port: int) -> Iterator[PlainService]:
    environment = _environment(shop)
    token = _prepare(environment, shop)
    words = PROCESSES["web"].command.replace("config.wsgi", "tests.bench.plain.wsgi").split()
    argv = [sys.executable, "-m", *words, "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    url = f"http://127.0.0.1:{port}/healthz"
    folder = shop.stack.run_dir / PLAIN
    child = Child(Command(PLAIN, argv, environment, lambda: answers(url)), FOLDER, folder / "web.log")
    note({PLAIN: child.pid}, folder / "processes.json")
    try:
        wait_for(child.command.answers, UP_WITHIN_S)
        yield PlainService(pid=child.pid, orders=Target(port=port, request=lambda: _order(token)))
    finally:
        child.ask_to_stop()
        child.wait_until_gone()


def _environment(shop: MeasuredShop) -> dict[str, str]:
    """What the shop's processes have, another database, and other settings."""
    info = shop.stack.info
    own = {"DATABASE_URL": info["database"].replace("/postgres?", f"/{PLAIN}?"), "DJANGO_SETTINGS_MODULE": SETTINGS}
    secret = (shop.stack.run_dir / "secret_key").read_text()
    return own | {"CELERY_BROKER_URL": info["broker"], "SECRET_KEY": secret, "DEMO_VALUES": "1", "TIME_SCALE": "1", "LOG_FORMAT": "line"}


def _prepare(environment: dict[str, str], shop: MeasuredShop) -> str:
    """Its database, with its client; returns the client's token."""
    with psycopg.connect(shop.stack.info["database"], autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {PLAIN}")
    credentials = shop.stack.run_dir / "plain.json"
    _manage(environment, "prepare", "--credentials", str(credentials))
    return _manage(environment, "drf_create_token", "web-shop").split()[2]  # Generated token … for user web-shop


def _manage(environment: dict[str, str], *words: str) -> str:
    run = subprocess.run([sys.executable, "manage.py", *words], cwd=FOLDER, env=os.environ | environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"manage.py {' '.join(words)} failed:\n{run.stderr[-3000:]}")
    return run.stdout


def _order(token: str) -> Request:
    """The shop's own order, flat, as the columns are."""
    order = {
        "reference": "web-77120",
        "currency": "EUR",
        "customer_email": "amara@example.com",
        "customer_name": "Amara Okafor",
        "lines": LINES,
        "payment_token": GOOD_CARD,
        "shipping_address": ADDRESS,
    }
    return "/orders", {"Authorization": f"Token {token}", "Content-Type": "application/json"}, json.dumps(order).encode()
