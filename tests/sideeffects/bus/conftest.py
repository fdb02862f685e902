"""Real buses, and facts that have numbers."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from orders import facts
from orders.clock import shop_now
from orders.facts import Fact
from sideeffects import bus
from sideeffects.bus import topic_exchange, valkey_stream
from tests.config.bare import Broker, RabbitBroker
from tests.debian import needed
from tests.proofs.crash_matrix import rabbitmq
from tests.sideeffects.conftest import RecordFact

NumberedFacts = Callable[..., list[Fact]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test asks whether something comes more often than a program does."""
    for kind in (topic_exchange, valkey_stream):
        monkeypatch.setattr(kind, "WAITS_S", 0.2)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    one = Broker(tmp_path_factory.mktemp("bus"))
    yield one
    one.end()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitBroker]:
    needed(lambda: rabbitmq.SERVER.exists() and shutil.which("erl"), "rabbitmq-server", "RabbitMQ")
    one = RabbitBroker(tmp_path_factory.mktemp("rabbit"))
    yield one
    one.end()


@pytest.fixture(params=["valkey", "rabbit"])
def on_a_bus(request: pytest.FixtureRequest, settings: Any) -> Iterator[bus.Bus]:
    """Of each kind, under a name of its own."""
    settings.BUS_URL = request.getfixturevalue(request.param).url
    settings.BUS_NAME = f"events.{request.node.name[:40].translate({ord('['): '.', ord(']'): None})}"
    one = bus.connect()
    yield one
    one.close()


@pytest.fixture
def on_valkey(valkey: Broker, settings: Any) -> Iterator[bus.Bus]:
    settings.BUS_URL = valkey.url
    valkey.client.flushall()
    one = bus.connect()
    yield one
    one.close()


@pytest.fixture
def numbered(record_fact: RecordFact) -> NumberedFacts:
    """Facts of as many new orders, with their numbers."""
    made = iter(range(1, 1000))

    def record(count: int) -> list[Fact]:
        new = [record_fact("email", f"ORD-{next(made)}").fact.pk for _ in range(count)]
        with transaction.atomic():
            facts.number_committed(1000, None, shop_now())
        return list(facts.numbered_from(1).filter(pk__in=new))

    return record
