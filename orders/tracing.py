"""One id from the request to the last side effect, and the distance from it. Knows no Celery: ``config.celery`` carries it in headers."""

import contextvars
from dataclasses import dataclass


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
