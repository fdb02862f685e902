"""Rounds of hypothesis on raw sockets. What fails is made as small as it can be, and the run goes on with the next round."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Flaky

from tests.fuzz.connection import talk
from tests.fuzz.figures import Told
from tests.fuzz.inputs import TOKEN, Exchange, exchanges
from tests.fuzz.verdict import Unacceptable, judge

EXCHANGES_PER_ROUND = 100
PHASES = (Phase.generate, Phase.shrink)


def exchanged(port: int, token: str, exchange: Exchange) -> Counter[str]:
    """Send it and judge the answers. Raises Unacceptable."""
    pieces = tuple(piece.replace(TOKEN, token.encode()) for piece in exchange.pieces)
    return judge(exchange, talk(port, pieces))


def rounds(port: int, token: str, seed: int) -> Iterator[list[Told]]:
    """Without an end; the same seed sends the same requests."""
    return ([_round(port, token, seed)] for seed in itertools.count(seed))


def _round(port: int, token: str, seed: int) -> Told:
    statuses: Counter[str] = Counter()
    smallest: list[str] = []

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
        try:
            statuses.update(exchanged(port, token, exchange))
        except Unacceptable as fault:
            smallest[:] = [f"seed {seed}: {fault}\n  {exchange.pieces!r}"]
            raise

    with contextlib.suppress(Unacceptable, Flaky):  # what does not come again when it is repeated was seen all the same
        ask()
    return Told(statuses, smallest)
