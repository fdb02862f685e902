"""A worker of this shop and a broker, with nothing around them: its log and the probes that come out show what a message does to its reader."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import kombu
import psutil
import redis
from django.db import connection

from config.stack import embedded
from config.stack.processes import Child, Command
from fulfillment.models import QueueProbe
from orders.clock import shop_now
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.crash_matrix import rabbitmq
from tests.proofs.storms.poison import EMBED, Message

CELERY = "import runpy; runpy.run_module('config.celery_worker', run_name='__main__')"  # as the shop starts it
QUEUES = ("compensation", "saga", "sideeffects")


WORDS = f"-P prefork -E -c 2 -Q {','.join(QUEUES)} -n bare@%h --without-gossip --without-mingle -l INFO".split()


class Broker:
    """Valkey in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = embedded.valkey_url(folder)
        self.children = [Child(Command("valkey", embedded.valkey_command(folder)), ROOT, folder / "valkey.log")]
        wait_for(lambda: embedded.valkey_answers(folder))
        self.client: Any = redis.Redis(unix_socket_path=str(embedded.valkey_socket(folder)))

    def put(self, queue: str, message: Message) -> None:
        self.client.lpush(queue, json.dumps(message.envelope(queue)))

    def left(self) -> int:
        """Messages that wait."""
        return sum(int(self.client.llen(queue)) for queue in QUEUES)

    def clear(self) -> None:
        """What an earlier worker has left."""
        self.client.flushall()

    def end(self) -> None:
        for child in reversed(self.children):
            child.ask_to_stop()
            child.wait_until_gone(10)


class RabbitBroker(Broker):
    def __init__(self, folder: Path) -> None:
        server = rabbitmq.choose(folder)
        server.forget()
        self.server, self.url, self.children = server, server.url, []
        for command in server.commands():
            self.children.append(Child(command, ROOT, folder / f"{command.role}.log"))
            wait_for(command.answers, 60, every_s=0.2)

    def control(self, *words: str) -> None:
        """``rabbitmqctl``: how RabbitMQ is told things while it runs."""
        own = {name: value for name, value in self.server.commands()[1].env.items() if "DIST" not in name and "ADDITIONAL" not in name}
        subprocess.run(
            [str(rabbitmq.SERVER.with_name("rabbitmqctl")), *words], env=os.environ | own, check=True, capture_output=True, timeout=60
        )

    def put(self, queue: str, message: Message) -> None:
        with kombu.Connection(self.url) as line:
            channel: Any = line.default_channel
            content = {"content_type": message.content_type, "content_encoding": message.content_encoding}
            channel.basic_publish(
                channel.prepare_message(message.body, headers=message.all_headers(), **content), exchange="", routing_key=queue
            )

    def left(self) -> int:
        with kombu.Connection(self.url) as line:
            channel: Any = line.default_channel
            return sum(channel.queue_declare(queue, passive=True).message_count for queue in QUEUES)

    def clear(self) -> None:
        with kombu.Connection(self.url) as line:
            for queue in QUEUES:
                with contextlib.suppress(*line.channel_errors):  # there is none yet
                    channel: Any = line.channel()
                    channel.queue_purge(queue)


class Worker:
    """May be started again, in the same log. ``sabotage``: lines of Python that run in the process before Celery does."""

    def __init__(self, broker: Broker, folder: Path, **more: str) -> None:
        self.broker, self.log, self.more = broker, folder / "worker.log", more
        self.starts = 0
        self.start()

    def start(self, sabotage: str = "") -> None:
        self.starts += 1
        program = ("-c", f"{sabotage}\n{CELERY}") if sabotage else ("-m", "config.celery_worker")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, *WORDS],
                cwd=ROOT, env=os.environ | variables(self.broker) | self.more, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def is_ready(self) -> None:
        """It has made its queues, and reads them."""
        wait_for(lambda: len(self.lines("ready.")) == self.starts, 40)

    def pids(self) -> set[int]:
        """Of its main process and of its pool."""
        return {self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children())}

    def lines(self, *words: str) -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if all(word in line for word in words)]

    def handles(self, queue: str, within_s: float = 15) -> None:
        """Whatever was put into ``queue`` before has been read: a probe comes out behind it."""
        QueueProbe.objects.get_or_create(queue=queue)
        stamp = shop_now()
        body = json.dumps([[], {"queue": queue, "stamp": stamp.isoformat()}, EMBED]).encode()
        wait_for(lambda: self._takes(queue, Message(body, {"task": "fulfillment.probe"})), within_s, every_s=0.2)
        wait_for(lambda: _came_out(queue, stamp), within_s)

    def _takes(self, queue: str, message: Message) -> bool:
        """False: the broker does not, now."""
        try:
            self.broker.put(queue, message)
        except redis.ResponseError:
            return False
        return True

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Ready, and ended after the block."""
    try:
        worker.is_ready()
        yield worker
    finally:
        worker.end()


def _came_out(queue: str, stamp: datetime) -> bool:
    out_at = QueueProbe.objects.get(queue=queue).out_at
    return out_at is not None and out_at >= stamp


def variables(broker: Broker) -> dict[str, str]:
    """Of a process on the test's database and this broker."""
    return {"DATABASE_URL": _test_database(), "CELERY_BROKER_URL": broker.url, "SAGA_PROCESS": "worker"}


def _test_database() -> str:
    url, _, query = str(os.environ["DATABASE_URL"]).partition("?")
    return f"{url.rpartition('/')[0]}/{connection.settings_dict['NAME']}?{query}"


def until_logged(seconds: float = 0.3) -> None:
    """A line of the log is written a moment after what it tells."""
    time.sleep(seconds)
