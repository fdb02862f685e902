"""What the histories of one process share: the virtual clock, the workers, and the rows that every order needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import connection

from fulfillment.models import QueueProbe, StockLevel
from orders.connections import start_clean
from orders.models import Order
from tests.proofs.simulation.interruptions import Interruptions
from tests.proofs.simulation.threads import WorkerThread
from tests.proofs.simulation.world import Clock, Commits

WORKERS = 2


class Equipment:
    """On the default database. ``placed``: how many orders there are, by which the next one is named."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.workers = [WorkerThread() for _ in range(WORKERS)]
        self.commits, self.interruptions = Commits(), Interruptions()
        QueueProbe.objects.all().delete()
        QueueProbe.objects.bulk_create(QueueProbe(queue=queue) for queue in ("saga", "compensation"))
        self.placed = Order.objects.count()
        self.client, _ = User.objects.get_or_create(username="simulation")
        StockLevel.objects.get_or_create(sku="PLENTY", defaults={"on_hand": 10**8})
        StockLevel.objects.get_or_create(sku="NONE", defaults={"on_hand": 0})

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Whoever works on the database begins on a clean connection, as in the shop; what they do is seen, and may be interrupted."""
        start_clean()
        self.clock.set_in_the_database()
        # The first is the outer one: what is interrupted after its commit has been seen to commit.
        with connection.execute_wrapper(self.interruptions), connection.execute_wrapper(self.commits):
            yield

    def clear_the_workers(self) -> None:
        for worker in self.workers:
            if not worker.is_idle:
                worker.kill()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
