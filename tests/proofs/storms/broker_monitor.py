"""Monitors the broker: sees every message that is put into a queue (Valkey's MONITOR), whoever puts it there."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.proofs.black_box.waiting import NothingCame
from tests.proofs.storms.storm import Storm

QUEUES = ("saga", "compensation", "sideeffects")


class BrokerMonitor(threading.Thread):
    """``heard`` is called with (queue, envelope) in this thread, in the order in which the broker took them. It ends with its block, or with the broker."""

    def __init__(self, broker: Any, heard: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__(daemon=True)
        self._broker = broker
        self._heard = heard
        self._is_open, self._is_over = threading.Event(), False

    def run(self) -> None:
        with contextlib.suppress(redis.ConnectionError), self._broker.monitor() as monitor:
            self._is_open.set()
            for command in monitor.listen():
                words = command["command"].split(" ", 2)
                if self._is_over and words[0] == "PING":
                    return
                if words[0] == "LPUSH" and words[1] in QUEUES:
                    self._heard(words[1], json.loads(words[2]))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Raises NothingCame: it could not be opened, or has ended before its time and did not see everything."""
        self.start()
        if not self._is_open.wait(5):
            raise NothingCame("the broker shows nobody its commands (MONITOR)")
        try:
            yield
            if not self.is_alive():
                raise NothingCame("the broker's monitor has ended before its time")
        finally:
            self._is_over = True
            while self.is_alive():
                self._broker.ping()
                self.join(0.1)


def broker_of(storm: Storm) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(storm.stack.info["broker"].removeprefix("redis+socket://")))
