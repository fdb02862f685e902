"""A broker for the tests of this folder."""

import shutil
from collections.abc import Iterator

import pytest

from tests.config.bare import Broker, RabbitBroker
from tests.debian import needed
from tests.proofs.crash_matrix import rabbitmq


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if request.param == "rabbitmq":
        needed(lambda: rabbitmq.SERVER.exists() and shutil.which("erl"), "rabbitmq-server", "RabbitMQ")
    one = (RabbitBroker if request.param == "rabbitmq" else Broker)(tmp_path_factory.mktemp("broker"))
    yield one
    one.end()
