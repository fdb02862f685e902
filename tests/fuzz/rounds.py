"""The run itself: rounds of hypothesis until enough requests were sent. What fails is made as small as it can be, and the run goes on with the next round."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.inputs import TOKEN, Exchange, exchanges
from tests.fuzz.verdict import Unacceptable, judge
from tests.fuzz.connection import talk

EXCHANGES_PER_ROUND = 100
PHASES = (Phase.generate, Phase.shrink)


@dataclass
class Result:
    """``failures``: what no client may meet, each with the smallest input that brings it about."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, Exchange]] = field(default_factory=list)


def exchanged(port: int, token: str, exchange: Exchange) -> Counter[str]:
    """Send it and judge the answers. Raises Unacceptable."""
    pieces = tuple(piece.replace(TOKEN, token.encode()) for piece in exchange.pieces)
    return judge(exchange, talk(port, pieces))


def fuzz(port: int, token: str, wanted: int, seed: int, say: Callable[[str], None]) -> Result:
    result, begun, number = Result(), time.monotonic(), 0
    while result.requests < wanted:
        for fault, exchange in _round(port, token, seed + number, result):
            result.failures.append((fault, exchange))
            say(f"{fault}\n  {exchange.pieces!r}"[:6000])
        number += 1
        if number % 5 == 0:
            say(_progress(result, wanted, time.monotonic() - begun))
    return result


def _round(port: int, token: str, seed: int, result: Result) -> list[tuple[str, Exchange]]:
    """What has failed, as small as it can be."""
    smallest: list[tuple[str, Exchange]] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=EXCHANGES_PER_ROUND,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(exchanges())
    def ask(exchange: Exchange) -> None:
        result.requests += exchange.requests
        try:
            result.statuses += exchanged(port, token, exchange)
        except Unacceptable as fault:
            smallest[:] = [(str(fault), exchange)]
            raise

    with contextlib.suppress(Unacceptable):
        ask()
    return smallest


def _progress(result: Result, wanted: int, took_s: float) -> str:
    left_s = took_s / max(result.requests, 1) * max(wanted - result.requests, 0)
    return f"{result.requests:,} of {wanted:,} requests, {len(result.failures)} failures, {took_s:.0f} s (about {left_s:.0f} s left)"
