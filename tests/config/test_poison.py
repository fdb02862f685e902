"""Promise: a message that nobody may handle costs one line in a log: the worker lives, what waits behind it is handled, and it never comes back."""

from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
from kombu.exceptions import OperationalError

from config.consumer import refusal
from tests.config.bare import QUEUES, Broker, Worker, running, until_logged
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.poison import BROADCASTS, ENVELOPES, MESSAGES, Message, whole

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = "Message refused on queue"


@pytest.fixture
def worker(broker: Broker, tmp_path: Path) -> Iterator[Worker]:
    broker.clear()
    with running(Worker(broker, tmp_path)) as one:
        yield one


def test_whatever_is_in_a_message_it_is_refused_once(broker: Broker, worker: Worker) -> None:
    """Every kind on every queue: each is one line of the log, and no process of the worker has died."""

    def put(queue: str) -> None:
        for message in MESSAGES.values():
            broker.put(queue, message)

    each_is_refused_once(broker, worker, put, len(MESSAGES))


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_what_is_no_message_at_all_is_refused_once(broker: Broker, worker: Worker) -> None:
    """On Valkey anybody may put any bytes into a queue."""
    each_is_refused_once(broker, worker, lambda queue: broker.client.lpush(queue, *ENVELOPES.values()), len(ENVELOPES))


def each_is_refused_once(broker: Broker, worker: Worker, put: Callable[[str], object], count: int) -> None:
    """``put``: puts so many into a queue."""
    before = worker.pids()

    for queue in QUEUES:
        put(queue)
        worker.handles(queue, 30)
    until_logged()

    assert {queue: len(worker.lines(f"{REFUSED} {queue}:")) for queue in QUEUES} == dict.fromkeys(QUEUES, count)
    assert worker.lines("Traceback") == []
    assert worker.pids() == before
    wait_for(lambda: broker.left() == 0, 5)


KEYS = {
    "saga": "string",
    "compensation": "hash",
    "sideeffects": "set",
    "saga\x06\x163": "string",
}


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_a_key_of_another_type_is_moved_aside(broker: Broker, worker: Worker) -> None:
    """Somebody has written something else where the broker's queues stand: it is kept under another name, and the queue works."""
    make: dict[str, Any] = {
        "string": lambda key: broker.client.set(key, "x"),
        "hash": lambda key: broker.client.hset(key, "a", "b"),
        "set": lambda key: broker.client.sadd(key, "a"),
        "list": lambda key: broker.client.lpush(key, "a"),
    }
    before = worker.pids()

    for key, kind in KEYS.items():
        broker.client.delete(key)
        make[kind](key)
        worker.handles("saga", 20)
        worker.handles("sideeffects", 20)

    assert len(worker.lines("it is called")) == len(KEYS)
    assert sum(len(broker.client.keys(f"{key}.{kind}.*")) for key, kind in KEYS.items()) == len(KEYS)
    assert worker.pids() == before


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_whoever_publishes_sets_such_a_key_aside_too(broker: Broker) -> None:
    """A busy worker reads nothing for a while: its own tasks must not wait for it."""
    broker.clear()
    broker.client.set("saga", "x")
    broker.client.set("_kombu.binding.saga", "x")

    publish(broker)

    assert broker.client.llen("saga") == 1
    assert len(broker.client.keys("*saga.string.*")) == 2


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_a_broker_that_takes_nothing_more_is_one_that_did_not_take_it(broker: Broker) -> None:
    """It is out of memory: the web process, the sweep and the relay hear what they hear when it is down, and try again later."""
    broker.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(OperationalError, match="maxmemory"):
            publish(broker)
    finally:
        broker.client.config_set("maxmemory", "0")


def publish(broker: Broker) -> None:
    with kombu.Connection(broker.url) as line:
        line.Producer().publish({}, routing_key="saga", declare=[kombu.Queue("saga", kombu.Exchange("saga"), "saga")])


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_a_broadcast_that_nobody_can_read_ends_no_worker(broker: Broker, worker: Worker) -> None:
    before = worker.pids()

    for odd in BROADCASTS:
        broker.client.publish("/0.celery.pidbox", odd)
    worker.handles("saga")
    until_logged()

    assert len(worker.lines(f"{REFUSED} /0.celery.pidbox:")) == len(BROADCASTS)
    assert worker.lines("Traceback") == []
    assert worker.pids() == before


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_properties_that_the_client_library_cannot_read_break_no_connection(broker: Broker, worker: Worker) -> None:
    """The message would come back on each new connection, for ever."""
    with amqp.Connection(broker.url.split("@")[1].rstrip("/"), userid="guest", password="guest") as line:
        for odd in ({"content_type": b"\xff\xfe"}, {"correlation_id": b"\xff"}, {"application_headers": {"task": b"\xff"}}):
            line.channel().basic_publish(amqp.Message(b"null", **odd), routing_key="saga")
    worker.handles("saga")
    until_logged()

    assert len(worker.lines(f"{REFUSED} saga:")) == 3
    assert worker.lines("Connection to broker lost") == []


UNLISTED = ("body null", "body a number", "body an object", "no id", "task a list", "id a list", "time limit a number", "stamps odd")


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_what_celery_cannot_read_after_all_is_refused_too(broker: Broker, worker: Worker) -> None:
    """Also a fault that nobody has listed ends its message only: here the list is empty."""
    worker.end()
    worker.start("import orders.messages as messages; messages.wrong_with = lambda message: ''")
    worker.is_ready()
    before = worker.pids()

    for name in UNLISTED:
        broker.put("saga", MESSAGES[name])
    worker.handles("saga")

    assert worker.pids() == before
    assert len(worker.lines(REFUSED, "Celery cannot read it")) == len(UNLISTED)
    wait_for(lambda: broker.left() == 0, 5)


def test_the_line_shows_neither_the_body_nor_whatever_the_sender_wants_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"task": "fulfillment.payment", "id": "ORD-1\nERROR forged \u202e" + "x" * 500}

    refusal.record("saga", "it is odd", 5, headers)

    (line,) = caplog.messages
    assert line.startswith(r"Message refused on queue saga: it is odd (5 bytes, task fulfillment.payment, id ORD-1\nERROR forged \u202e")
    assert len(line) < 250


def test_what_is_published_here_is_not_refused(broker: Broker, worker: Worker) -> None:
    """The whole message that every odd one is made from is handled."""
    broker.put("saga", Message(whole()))
    worker.handles("saga")
    until_logged()

    assert worker.lines(REFUSED) == []
    assert len(worker.lines("succeeded", "ORD-NONE: nothing to do here")) == 1


def test_the_libraries_are_those_that_the_door_was_built_for() -> None:
    """A newer one may read messages elsewhere: try every kind again, then change this line."""
    versions = [metadata.version(name) for name in ("celery", "kombu", "redis", "amqp")]

    assert versions == ["5.7.0", "5.7.0", "8.1.0", "5.4.2"]
