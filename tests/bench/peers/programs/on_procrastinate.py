"""Procrastinate, a task queue in PostgreSQL: a job for each step, which defers the next one, and a job for each side effect. Its workers are asynchronous.

A job is marked as done after its function has returned. So a crash makes it run again, which is harmless (``work``).
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import procrastinate
import psycopg
from psycopg_pool import AsyncConnectionPool

from tests.bench.peers.programs import work
from tests.bench.peers.programs.program import DATABASE, Program, in_processes

AT_ONCE = 10  # jobs of one worker
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DATABASE, min_size=2, max_size=AT_ONCE + 2))
pool: AsyncConnectionPool


async def _in_a_transaction(step: work.Step) -> None:
    async with pool.connection() as connection, connection.cursor() as cursor:
        await work.perform_async(step, cursor)


@app.task(queue="orders", name="charge")
async def charge(order: int) -> None:
    await _in_a_transaction(work.charge(order))
    await reserve.defer_async(order=order)


@app.task(queue="orders", name="reserve")
async def reserve(order: int) -> None:
    await _in_a_transaction(work.reserve(order))
    await ship.defer_async(order=order)


@app.task(queue="orders", name="ship")
async def ship(order: int) -> None:
    await _in_a_transaction(work.ship(order))
    await finish.defer_async(order=order)


@app.task(queue="orders", name="finish")
async def finish(order: int) -> None:
    await _in_a_transaction(work.fulfil(order))
    for kind in work.EFFECTS:
        await effect.defer_async(order=order, kind=kind)


@app.task(queue="effects", name="effect")
async def effect(order: int, kind: str) -> None:
    await _in_a_transaction(work.effect(order, kind))


async def _work() -> None:
    global pool
    pool = AsyncConnectionPool(DATABASE, min_size=2, max_size=AT_ONCE, open=False)
    await pool.open()
    async with app.open_async():
        await app.run_worker_async(concurrency=AT_ONCE, wait=True, fetch_job_polling_interval=1.0)


def _own_app() -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=DATABASE))


def setup() -> None:
    with _own_app().open() as own:
        own.schema_manager.apply_schema()


@contextmanager
def placing() -> Iterator[Callable[[int], None]]:
    with _own_app().open() as own, psycopg.connect(DATABASE, autocommit=True) as connection, connection.cursor() as cursor:
        first = own.configure_task("charge", queue="orders")

        def place(order: int) -> None:
            work.perform(work.place(order), cursor)
            first.defer(order=order)

        yield place


if __name__ == "__main__":
    Program(work=lambda: in_processes(lambda _: asyncio.run(_work())), placing=placing, setup=setup).main()
