"""What the tests of the sandbox ask of its answers."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    pass


HANGS = 0.3  # seconds; longer than any answer takes, shorter than any silence
GONE = pytest.raises(httpx.ReadTimeout)


def error_code(answer: httpx.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def wait_for(said: Callable[[], bool], seconds: float = 3.0) -> None:
    until = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def one_of_two(pool: ThreadPoolExecutor, ask: Callable[[], httpx.Response]) -> tuple[httpx.Response, "Future[httpx.Response]"]:
    """Ask twice at once: the answer that comes first, "in progress", and the request that is still running."""
    done, running = wait([pool.submit(ask), pool.submit(ask)], return_when=FIRST_COMPLETED)
    return done.pop().result(), running.pop()


CHARGE: dict[str, Any] = {"order": "ORD-50", "amount": 1, "currency": "EUR", "token": "tok_ok"}
