"""The four subscribers, written into the folder of a run: all are the same, and each has to be a package of its own."""

from pathlib import Path

from tests.bench.peers.programs.work import EFFECTS

PACKAGES = [f"sideeffects.subscribers.{kind}" for kind in EFFECTS]
APPS = """from django.apps import AppConfig


class Subscriber(AppConfig):
    name = "sideeffects.subscribers.{kind}"
    label = "sideeffects_{kind}"
"""
SUBSCRIBER = """from django.db import connection

from orders.events import OrderFulfilled, subscriber


@subscriber(OrderFulfilled)
def {kind}(event, delivery):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO effects (order_id, kind) VALUES (%s, '{kind}')", [int(event.number.removeprefix("ORD-"))])
"""


def write_packages(folder: Path) -> None:
    for kind in EFFECTS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / "__init__.py").touch()
        (folder / kind / "apps.py").write_text(APPS.format(kind=kind))
        (folder / kind / "subscriber.py").write_text(SUBSCRIBER.format(kind=kind))
