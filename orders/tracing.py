"""One id from the request to the last side effect, and the distance from it. Knows no Celery: ``config.celery`` carries it in headers.

It is the request id that a client is told, and the correlation id of the orders that the request places.
"""

import contextvars
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LONGEST = 64  # as long as the column


@dataclass(frozen=True)
class Trace:
    """``correlation_id``: the order's. ``hop``: how many messages ago it began."""

    correlation_id: str
    hop: int = 0


Token = contextvars.Token[Trace | None]
_trace: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("trace", default=None)


def current() -> Trace | None:
    return _trace.get()


def enter(trace: Trace) -> Token:
    return _trace.set(trace)


def leave(token: Token) -> None:
    _trace.reset(token)


@contextmanager
def traced(correlation_id: str) -> Iterator[None]:
    """Whatever is logged and published inside carries this id."""
    token = enter(Trace(correlation_id))
    try:
        yield
    finally:
        leave(token)


@contextmanager
def continued(correlation_id: str) -> Iterator[None]:
    """As ``traced``, for whoever publishes in nobody's name: a sweep or a relay. Inside of a request or a task nothing changes."""
    if current() is not None or not correlation_id:
        yield
        return
    with traced(correlation_id):
        yield


def usable_id(asked: str) -> str:
    """What a client calls its request, if that can stand in a line of the log; else a new one."""
    return asked if is_usable(asked) else str(uuid.uuid4())


def is_usable(identity: str) -> bool:
    return 0 < len(identity) <= LONGEST and all(letter.isascii() and (letter.isalnum() or letter in "-_.:") for letter in identity)
