"""One real gunicorn process of the shop, for each process of the test run."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.engines import RUN_DIR
from tests.fuzz.server import Server, Shop, shop


@dataclass
class Edge:
    """``token``: of a client that may place orders."""

    server: Server
    shop: Shop

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def token(self) -> str:
        return self.shop.token

    @property
    def database(self) -> str:
        return self.shop.database


@pytest.fixture(scope="session")
def edge() -> Iterator[Edge]:
    folder = RUN_DIR / f"edge{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    with shop(folder) as made, Server(made.database, folder) as server:
        yield Edge(server, made)


@pytest.fixture(autouse=True)
def without_odd_lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends: no traceback, and no worker that ends."""
    yield
    if "edge" in request.fixturenames:
        assert request.getfixturevalue("edge").server.odd_lines() == []
