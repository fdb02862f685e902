"""Places orders with the ORM, and runs a worker with the options that its documentation shows."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import django
from celery import Celery

from tests.bench.peers.programs.plain.settings import IS_TUNED
from tests.bench.peers.programs.program import WORKERS, Program, celery_words
from tests.bench.peers.programs.work import lines_of, price_cents

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.bench.peers.programs.plain.settings")
app = Celery("plain")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
AS_DOCUMENTED = ["worker", "-l", "INFO", "-c", str(WORKERS)]


def work() -> None:
    app.worker_main(celery_words() if IS_TUNED else AS_DOCUMENTED)


@contextmanager
def placing() -> Iterator[Callable[[int], None]]:
    django.setup()
    yield _place


def _place(number: int) -> None:
    from django.utils import timezone

    from tests.bench.peers.programs.plain.models import Order, OrderLine
    from tests.bench.peers.programs.plain.tasks import fulfill

    lines = lines_of(number)
    total = sum(quantity * price_cents(product) for product, quantity in lines)
    order = Order.objects.create(id=number, customer_id=1, total_cents=total, submitted_at=timezone.now())
    for product, quantity in lines:
        OrderLine.objects.create(order=order, product_id=product, qty=quantity, unit_cents=price_cents(product))
    fulfill(order.id)


if __name__ == "__main__":
    Program(work=work, placing=placing).main()
