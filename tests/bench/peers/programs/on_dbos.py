"""DBOS: a queued workflow for each order, whose steps are checkpointed, and a queued child workflow for each side effect.

Tuned: queues are polled each 50 ms and not each second, connections are not tested before each use, pools are small, tracing and logs are off. A step does its
work in a transaction of its own; steps as transactions of DBOS's data source were slower.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy
from dbos import DBOS, DBOSClient

from tests.bench.peers.programs import work
from tests.bench.peers.programs.program import DATABASE, Program, in_processes

POLLED_EVERY_S = 0.05
ORDERS_AT_ONCE, EFFECTS_AT_ONCE = 20, 40  # of one worker
_connections = threading.local()


def _connection() -> "psycopg.Connection[tuple[int]]":
    """One for each thread."""
    if not hasattr(_connections, "own"):
        _connections.own = psycopg.connect(DATABASE, autocommit=True)
    own: psycopg.Connection[tuple[int]] = _connections.own
    return own


def _checkpointed(step: Callable[[int], work.Step]) -> Callable[[int], None]:
    def run(order: int) -> None:
        with _connection().transaction(), _connection().cursor() as cursor:
            work.perform(step(order), cursor)

    checkpointed: Callable[[int], None] = DBOS.step(name=step.__name__)(run)
    return checkpointed


def launch(executor: str) -> None:
    DBOS(
        config={
            "name": "shop",
            "system_database_url": DATABASE,
            "application_version": "1",
            "executor_id": executor,
            "log_level": "ERROR",
            "enable_otlp": False,
            "sys_db_pool_size": 20,
            "max_executor_threads": ORDERS_AT_ONCE + EFFECTS_AT_ONCE + 4,
            "db_engine_kwargs": {"pool_pre_ping": False},
        }
    )
    _declare()
    DBOS.launch()
    DBOS.register_queue("orders", worker_concurrency=ORDERS_AT_ONCE, polling_interval_sec=POLLED_EVERY_S)
    DBOS.register_queue("effects", worker_concurrency=EFFECTS_AT_ONCE, polling_interval_sec=POLLED_EVERY_S)


def _declare() -> None:
    steps = [_checkpointed(step) for step in work.STEPS]

    @DBOS.workflow(name="effect")
    def effect(order: int, kind: str) -> None:
        with _connection().cursor() as cursor:
            work.perform(work.effect(order, kind), cursor)

    @DBOS.workflow(name="order")
    def fulfil(order: int) -> None:
        for step in steps:
            step(order)
        for kind in work.EFFECTS:
            DBOS.enqueue_workflow("effects", effect, order, kind)


def run(number: int) -> None:
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    launch(f"worker{number}")
    is_over.wait()
    DBOS.destroy(workflow_completion_timeout_sec=2)


def setup() -> None:
    launch("setup")
    DBOS.destroy()


@contextmanager
def placing() -> Iterator[Callable[[int], None]]:
    """The order and the start of its workflow are one transaction."""
    client = DBOSClient(system_database_url=DATABASE, application_name="shop")
    engine = sqlalchemy.create_engine(DATABASE.replace("postgresql://", "postgresql+psycopg://"), pool_size=1)

    def place(order: int) -> None:
        options = {"queue_name": "orders", "workflow_name": "order", "app_version": "1", "workflow_id": f"order-{order}"}
        with engine.begin() as connection:
            work.perform(work.place(order), connection.connection.cursor())
            client.enqueue_in_transaction(connection, options, order)

    yield place
    client.destroy()


if __name__ == "__main__":
    Program(work=lambda: in_processes(run), placing=placing, setup=setup).main()
