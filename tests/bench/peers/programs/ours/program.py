"""Places orders as the API's view does, and runs the shop's processes: one worker with two children for every queue, the sweep and the relay."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.peers.programs.ours import trace
from tests.bench.peers.programs.ours.subscribers import write_packages
from tests.bench.peers.programs.program import BROKER, DATABASE, FOLDER, Program, celery_words
from tests.bench.peers.programs.work import PRODUCTS, lines_of, price_cents

VIEWS = Path(__file__).with_name("views.sql")
QUEUES = "compensation,saga,sideeffects"
CLIENT = "bench"
ENOUGH = 1_000_000_000  # of each product
ADDRESS = {"name": "A", "line1": "1 Road", "city": "Cork", "postal_code": "T12", "country": "IE"}
VARIABLES = {
    "DJANGO_SETTINGS_MODULE": "tests.bench.peers.programs.ours.settings",
    "DATABASE_URL": DATABASE,
    "CELERY_BROKER_URL": BROKER,
    "RUN_DIR": FOLDER,
    "SECRET_KEY": "a bench serves nobody, so it has no secret",
    "LOG_LEVEL": "WARNING",
    "TIME_SCALE": "1",
    "DEMO_VALUES": "0",
    "HTTPS": "0",
}


def setup() -> None:
    import django

    write_packages(Path(FOLDER) / "subscribers")
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    from fulfillment.models import StockLevel
    from orders.models import Product

    call_command("migrate", "--noinput", "--verbosity=0")
    User.objects.create(username=CLIENT)
    products = [Product(sku=sku(n), name=f"Product {n}", price_minor=price_cents(n), currency="EUR") for n in range(PRODUCTS)]
    Product.objects.bulk_create(products)
    StockLevel.objects.bulk_create(StockLevel(sku=product.sku, on_hand=ENOUGH) for product in products)
    with connection.cursor() as cursor:
        cursor.execute(VIEWS.read_text())


def sku(product: int) -> str:
    return f"P{product}"


def work() -> None:
    write_packages(Path(FOLDER) / "subscribers")
    worker = ["-m", "config.celery_worker", *celery_words()[1:], "-Q", QUEUES, "-n", "worker@bench"]
    processes = [subprocess.Popen([sys.executable, *words]) for words in (worker, ["manage.py", "sweep"], ["manage.py", "relay"])]

    def end(*_: object) -> None:
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    for process in processes:
        process.wait()


@contextmanager
def placing() -> Iterator[Callable[[int], object]]:
    os.environ["SAGA_PROCESS"] = "web"
    import django

    django.setup()
    from django.contrib.auth.models import User

    from orders.api import placing as orders

    client = User.objects.get(username=CLIENT)
    yield trace.spanned(trace.PLACING, lambda number: orders.place(client, f"order-{number}", _wanted(number), f"bench-{number}"))


def _wanted(number: int) -> dict[str, Any]:
    """As the view has validated it."""
    return {
        "reference": "",
        "currency": "EUR",
        "customer": {"email": "a@example.com", "name": "A"},
        "payment": {"token": "tok_ok"},
        "lines": [{"sku": sku(product), "quantity": quantity} for product, quantity in lines_of(number)],
        "shipping_address": ADDRESS,
    }


if __name__ == "__main__":
    os.environ |= VARIABLES
    Program(work=work, placing=placing, setup=setup).main()
