"""Promise: what a message costs at the broker. One round trip publishes it, together with those that go out with it, and one fetches it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import psycopg
import pytest

from config.consumer.consumer import EVENTS_EVERY_S
from fulfillment.models import QueueProbe
from tests.config.bare import Broker, Worker, running, variables
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.poison import EMBED, Message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

PUBLISH = """
import uuid
import django
django.setup()
from redis.connection import AbstractConnection
from sideeffects import discovery, tasks

round_trips = 0
send = AbstractConnection.send_packed_command

def counting(self, *words, **options):
    global round_trips
    round_trips += 1
    return send(self, *words, **options)

def messages():
    return [tasks.Message(fact=uuid.uuid4(), subscriber=name, order="ORD-1", launch=1) for name in discovery.names()]

AbstractConnection.send_packed_command = counting
assert tasks.publish(messages()) == []  # connects, and makes the queue
{before}
round_trips = 0
left = tasks.publish(messages())
print(round_trips, len(left))
"""


only_valkey = pytest.mark.parametrize("broker", ["valkey"], indirect=True)


def published(broker: Broker, before: str = "") -> tuple[int, int]:
    """(round trips, messages that were not taken) of the second fact of a process. ``before``: what happens before it."""
    environment = os.environ | variables(broker) | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    run = subprocess.run(
        [sys.executable, "-c", PUBLISH.replace("{before}", before)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    round_trips, left = run.stdout.split()
    return int(round_trips), int(left)


def directly(broker: Broker) -> str:
    """Python for a line of its own to Valkey."""
    path = broker.client.connection_pool.connection_kwargs["path"]
    return f"import redis; redis.Redis(unix_socket_path={str(path)!r})"


@only_valkey
def test_the_messages_of_a_fact_are_one_round_trip(broker: Broker, show_figure: Any) -> None:
    """Published one by one they were four."""
    broker.clear()

    round_trips, left = published(broker)

    show_figure(f"a fact's messages to four subscribers: {round_trips} round trip to the broker")
    assert (round_trips, left, broker.left()) == (1, 0, 8)


def test_the_messages_of_a_fact_are_published_by_either_broker(broker: Broker) -> None:
    broker.clear()

    _, left = published(broker)

    with kombu.Connection(broker.url) as line:
        channel: Any = line.default_channel
        assert (left, channel.queue_declare("sideeffects", passive=True).message_count) == (0, 8)


@only_valkey
def test_messages_are_published_over_a_line_that_has_died_meanwhile(broker: Broker) -> None:
    """The broker was restarted between two facts."""
    broker.clear()

    _, left = published(broker, before=f"{directly(broker)}.client_kill_filter(_type='normal')")

    assert (left, broker.left()) == (0, 8)


@only_valkey
def test_messages_are_published_although_the_key_of_their_queue_is_something_else(broker: Broker) -> None:
    """Together they are refused; one by one, the key is moved aside."""
    broker.clear()

    _, left = published(broker, before=f"{directly(broker)}.set('sideeffects', 'x')")

    assert (left, broker.left()) == (0, 4)


# --- fetched --------------------------------------------------------------------------------------------------------------

TASKS = 60


@pytest.fixture
def worker(broker: Broker, tmp_path: Path) -> Iterator[Worker]:
    broker.clear()
    with running(Worker(broker, tmp_path)) as one:
        yield one


def commands(broker: Broker) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in broker.client.info("commandstats").items()}


def put_probes(broker: Broker, count: int) -> None:
    QueueProbe.objects.get_or_create(queue="saga")
    body = json.dumps([[], {"queue": "saga", "stamp": "2020-01-01T00:00:00+00:00"}, EMBED]).encode()
    for number in range(count):
        broker.put("saga", Message(body, {"task": "fulfillment.probe", "id": str(number)}))


@only_valkey
def test_a_message_is_fetched_in_one_round_trip_and_no_copy_of_it_is_kept(broker: Broker, worker: Worker, show_figure: Any) -> None:
    """Kombu's own channel needs three: it keeps a copy, and deletes it again. And what Flower is told of many tasks is one message."""
    before, begun = commands(broker), time.monotonic()

    put_probes(broker, TASKS)
    wait_for(lambda: len(worker.lines("celery.app.trace", "succeeded")) == TASKS, 60)
    time.sleep(2 * EVENTS_EVERY_S)

    seconds = time.monotonic() - begun
    used = {name: calls - before.get(name, 0) for name, calls in commands(broker).items()}
    show_figure(f"{TASKS} tasks in {seconds:.1f} s: {used['brpop']} BRPOP, and {used['publish']} PUBLISH of {3 * TASKS} events")
    assert [name for name in ("hset", "hdel", "zrem") if used.get(name)] == []
    assert used["brpop"] <= TASKS + seconds + 2  # a worker that waits asks once a second
    assert used["publish"] <= 3 * TASKS / 24 + seconds / EVENTS_EVERY_S + seconds + 2  # full, due, and the heartbeats


@only_valkey
def test_what_a_worker_has_fetched_and_not_begun_is_given_back_when_it_stops(broker: Broker, worker: Worker) -> None:
    """In a deploy nothing waits for a probe. What was first is first again."""
    count = 40
    with psycopg.connect(variables(broker)["DATABASE_URL"]) as other:
        other.execute("LOCK TABLE fulfillment_queueprobe IN ROW EXCLUSIVE MODE")
        put_probes(broker, count)
        other.execute("LOCK TABLE fulfillment_queueprobe IN ACCESS EXCLUSIVE MODE")
        wait_for(lambda: broker.left() < count - 4, 20, every_s=0.05)
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.process.wait(30) == 0

    assert worker.lines("Restoring") != []
    left = [int(json.loads(item)["headers"]["id"]) for item in reversed(broker.client.lrange("saga", 0, -1))]
    assert left == list(range(left[0], count))
    assert len(left) + len(worker.lines("celery.app.trace", "fulfillment.probe[")) == count
