"""Somebody outside of the shop who keeps rows or tables of the tests' own database, as a forgotten psql would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

WANTED = ("host", "user", "dbname", "password", "port")


def outside(**options: Any) -> psycopg.Connection[Any]:
    """A session that is none of ours, without any of our limits."""
    found = {name: value for name, value in connection.get_connection_params().items() if name in WANTED}
    return psycopg.connect(**found, **options)


@contextmanager
def held(statement: str) -> Iterator[psycopg.Connection[Any]]:
    """What ``statement`` takes is held until the block ends."""
    with outside() as holder:
        holder.execute(statement)
        yield holder
