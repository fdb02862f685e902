"""One real gunicorn process of the shop, for each process of the test run."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.engines import RUN_DIR
from tests.fuzz.server import Server, shop


@dataclass
class Edge:
    """``token``: of a client that may place orders."""

    server: Server
    token: str
    database: str

    @property
    def port(self) -> int:
        return self.server.port


@pytest.fixture(scope="session")
def edge() -> Iterator[Edge]:
    folder = RUN_DIR / f"edge{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    with shop(folder) as (database, token), Server(database, folder) as server:
        yield Edge(server, token, database)


@pytest.fixture(autouse=True)
def without_odd_lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends: no traceback, and no worker that ends."""
    yield
    if "edge" in request.fixturenames:
        assert request.getfixturevalue("edge").server.odd_lines() == []
