"""Promise: a broker that answers and takes no message is named as the cause, and makes no worker sick."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from django.core.management import call_command

from config.broker import QueueLength, trouble
from config.celery import app
from config.worker.findings import broker_and_workers
from tests.config.bare import Broker, RabbitBroker
from tests.debian import needed
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.crash_matrix import rabbitmq


@pytest.fixture(scope="module")
def a_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    one = Broker(tmp_path_factory.mktemp("broker"))
    yield one
    one.end()


@pytest.fixture
def broker(a_broker: Broker, settings: Any) -> Iterator[Broker]:
    settings.CELERY_BROKER_URL = a_broker.url
    yield a_broker
    a_broker.client.execute_command("REPLICAOF", "NO", "ONE")
    a_broker.client.config_set("maxmemory", "0")


def demoted(broker: Broker) -> None:
    broker.client.execute_command("REPLICAOF", "127.0.0.1", "9")


def full(broker: Broker) -> None:
    broker.client.config_set("maxmemory", "1mb")


def test_a_broker_that_works_is_in_no_trouble(broker: Broker) -> None:
    assert trouble() == ""


@pytest.fixture
def rabbit(tmp_path: Any, settings: Any) -> Iterator[RabbitBroker]:
    needed(lambda: rabbitmq.SERVER.exists() and shutil.which("erl"), "rabbitmq-server", "RabbitMQ")
    one = RabbitBroker(tmp_path)
    settings.CELERY_BROKER_URL, settings.CELERY_BROKER_TRANSPORT_OPTIONS = one.url, {"confirm_publish": True}
    yield one
    one.end()


def put_two(url: str) -> None:
    with kombu.Connection(url) as line, line.SimpleQueue("saga", queue_args={"x-queue-type": "quorum"}) as queue:
        for n in range(2):
            queue.put({"n": n})


def is_counted(url: str) -> None:
    """First there is no such queue; then two messages wait in it; and the question is asked on one connection."""
    length = QueueLength("saga")

    assert [length.ask(), length.ask()] == [0, 0]
    put_two(url)
    wait_for(lambda: length.ask() == 2, 10)

    length.close()
    assert length.ask() == 2
    length.close()


def test_the_length_of_a_queue_is_asked_of_valkey(broker: Broker) -> None:
    is_counted(broker.url)
    broker.client.delete("saga")


def test_the_length_of_a_queue_is_asked_of_rabbitmq(rabbit: RabbitBroker) -> None:
    is_counted(rabbit.url)


def test_rabbitmq_with_an_alarm_is_reported_as_that_at_once(rabbit: RabbitBroker, db: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Its memory or its disk is short: it lets everybody in, and reads nothing from whoever publishes."""
    assert trouble() == ""
    rabbit.control("set_vm_memory_high_watermark", "absolute", "1")
    wait_for(lambda: trouble() != "", 10)

    begun = time.monotonic()
    (finding,) = list(broker_and_workers(app, 0.5, lambda queue: ""))
    with pytest.raises(SystemExit) as end:
        call_command("health", "saga@%h")

    assert time.monotonic() - begun < 2
    assert (finding.level, finding.what) == ("FAIL", "broker")
    assert "answers and takes no messages (it blocks whoever publishes: `rabbitmqctl list_alarms`" in finding.found
    assert (end.value.code or 0, "takes no messages" in capsys.readouterr().out) == (0, True)

    rabbit.control("set_vm_memory_high_watermark", "0.6")
    wait_for(lambda: trouble() == "", 10)


@pytest.mark.parametrize(("becomes", "words"), [(demoted, "read only replica"), (full, "maxmemory")], ids=["demoted", "full"])
def test_a_broker_that_takes_no_messages_is_reported_as_that(
    becomes: Any, words: str, broker: Broker, db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failover, or with its memory full, it answers PING; nobody is notified to start workers that run already."""
    becomes(broker)

    (finding,) = list(broker_and_workers(app, 0.5, lambda queue: ""))

    assert (finding.level, finding.what) == ("FAIL", "broker")
    assert "answers and takes no messages" in finding.found
    assert words in finding.found
    with pytest.raises(SystemExit) as end:
        call_command("health", "saga@%h")
    assert (end.value.code or 0, "takes no messages" in capsys.readouterr().out) == (0, True)
