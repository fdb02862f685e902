"""A bus in Valkey: one stream, of which the newest events are kept. An entry's id is the number of its event, so the server refuses one that it has already."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orders import valkey_url
from orders.facts import Fact
from sideeffects.bus.envelope import as_json
from sideeffects.bus.errors import BusTrouble
from sideeffects.bus.kind import Received, matches

ANSWERS_WITHIN_S = 5.0
HAS_IT = "equal or smaller than the target stream top item"
NO_STREAM = "no such key"
READ_AT_ONCE = 100
WAITS_S = 1.0  # for the next event, before it says that there is none


class ValkeyStream:
    """``name``: the key of the stream. ``keeps``: how many events it holds; older ones are dropped."""

    def __init__(self, url: str, name: str, keeps: int) -> None:
        self._name, self._keeps = name, keeps
        self._client: Any = redis.Redis.from_url(
            valkey_url.for_client(url),
            socket_timeout=ANSWERS_WITHIN_S,
            socket_connect_timeout=ANSWERS_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def newest(self) -> int:
        with _told():
            try:
                return _number(self._client.xinfo_stream(self._name)["last-generated-id"])
            except redis.ResponseError as refused:
                if NO_STREAM in str(refused):
                    return 0
                raise

    def publish(self, facts: Sequence[Fact]) -> None:
        with _told():
            line = self._client.pipeline(transaction=False)
            for fact in facts:
                line.xadd(
                    self._name, {"type": fact.type, "event": as_json(fact)}, id=f"{fact.number}-0", maxlen=self._keeps, approximate=True
                )
            for answer in line.execute(raise_on_error=False):
                if isinstance(answer, Exception) and HAS_IT not in str(answer):
                    raise answer

    def forget(self) -> None:
        with _told():
            self._client.delete(self._name)

    def receive(self, pattern: str, after: int | None, queue: str) -> Iterator[Received | None]:
        last = self.newest() if after is None else after
        while True:
            with _told():
                found = self._client.xread({self._name: f"{last}-0"}, count=READ_AT_ONCE, block=round(WAITS_S * 1000))
            for entry, fields in found[0][1] if found else ():
                last = _number(entry)
                if matches(pattern, fields["type"]):
                    yield Received(last, json.loads(fields["event"]))
            if not found:
                yield None

    def close(self) -> None:
        self._client.close()


def _number(entry: str) -> int:
    return int(entry.partition("-")[0])


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        why = f": {str(error)[:80].rstrip('.')}" if isinstance(error, redis.ResponseError) else ""
        raise BusTrouble(f"the bus (Valkey) has not taken or answered what it was sent: {type(error).__name__}{why}") from error
