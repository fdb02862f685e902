"""Promise: while the database is away, a client is told to come again, and afterwards it is served, by the same process."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.edge.conftest import Edge
from tests.edge.talking import asked, document, head, line_to

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"


@contextmanager
def away(database: str) -> Iterator[None]:
    """Whoever is there is cut, and nobody is let in."""
    with psycopg.connect(database.replace("/postgres?", "/template1?"), autocommit=True) as server:
        server.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        try:
            server.execute(CUT)
            yield
        finally:
            server.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/products"])
def test_a_client_is_told_to_come_again(path: str, edge: Edge) -> None:
    request = head(f"GET {path}", f"Authorization: Token {edge.token}")
    with line_to(edge.port) as line:
        assert asked(line, request).status == 200
        with away(edge.database):
            answer = asked(line, request)
        again = asked(line, request)

    assert (answer.status, answer.headers["retry-after"], document(answer)["code"]) == (503, "2", "database_unavailable")
    assert again.status == 200
