"""The broker's connections are reset, it is wiped, killed and restarted, and its lines go dead without a word, a hundred times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from config.outside import FINAL
from config.storming.line import Line, why_not
from config.storming.scenario import FULL, SMALL, Scenario
from config.storming.storm import Storm

FLOWS_WITHIN_S, SAID_WITHIN_S = 15.0, 30.0
RESET, WIPED, RESTARTED, HALF_OPEN = "reset", "wiped", "restarted", "half-open"
DEAF = "this worker is deaf and ends itself"


@contextmanager
def surroundings(storm: Storm) -> Iterator[dict[str, str]]:
    storm.line = Line(storm.run_dir.with_name("broker-line"))
    with storm.line.standing():
        yield {"CELERY_BROKER_URL": storm.line.url}


def happens(storm: Storm) -> None:
    line = storm.line
    assert line is not None
    kinds = [kind for kind in (RESET, WIPED, RESTARTED, HALF_OPEN) for _ in range(storm.how_many[kind])]
    if not line.can_vanish:
        storm.counts["not shown"] = why_not()
        kinds = [kind for kind in kinds if kind != HALF_OPEN]
    storm.rng.shuffle(kinds)
    storm.numbers.append(storm.shop.place_stubbornly())
    storm.rest(30)
    slowest: dict[str, float] = {}
    ended_themselves = 0
    for done, kind in enumerate(kinds):
        storm.show(kind, done, len(kinds))
        _strike(storm, line, kind)
        took_s, ended = _until_orders_flow(storm, kind)
        slowest[kind] = max(slowest.get(kind, 0.0), round(took_s, 1))
        ended_themselves += ended
    storm.counts |= {"faults": len(kinds)} | {f"{kind}: flows after at most (s)": seconds for kind, seconds in slowest.items()}
    storm.counts["workers that ended themselves"] = ended_themselves
    storm.rest(60)


def _strike(storm: Storm, line: Line, kind: str) -> None:
    if kind == RESET:
        for connections in ("normal", "pubsub"):
            line.client().client_kill_filter(_type=connections, skipme=True)
    elif kind == WIPED:
        line.client().flushall()
    elif kind == RESTARTED:
        line.restart(storm.rng.uniform(0, 3))
    else:
        line.vanish()


def _until_orders_flow(storm: Storm, kind: str) -> tuple[float, bool]:
    """Seconds until an order placed now is fulfilled; and whether a worker ended itself meanwhile. A breach, unless it was in time, or was said in time."""
    begun, deaf = time.monotonic(), _deaf(storm)
    number, said_after_s = storm.shop.place_stubbornly(), 0.0
    storm.numbers.append(number)
    while storm.shop.order(number)["status"] not in FINAL and time.monotonic() - begun < 90:
        if not said_after_s and storm.shop.http.get(storm.stack.info["web"] + "/readyz").status_code == 503:
            said_after_s = time.monotonic() - begun
        time.sleep(0.1)
    took_s, ended = time.monotonic() - begun, _deaf(storm) > deaf
    said = ended and 0 < said_after_s <= SAID_WITHIN_S
    storm.expect(
        took_s <= FLOWS_WITHIN_S or said,
        f"{kind}: orders flowed after {took_s:.1f} s, a worker ended itself: {ended}, /readyz: {said_after_s:.1f} s",
    )
    return took_s, ended


def _deaf(storm: Storm) -> int:
    return sum((storm.run_dir / "log" / f"{role}.log").read_text(errors="replace").count(DEAF) for role in ("saga", "sideeffects"))


SCENARIO = Scenario(
    name="broker",
    promise="A hundred faults of the broker: orders flow again within 15 s of each, or the worker ends itself and /readyz says so within 30 s.",
    happens=happens,
    sizes={
        SMALL: {RESET: 2, WIPED: 1, RESTARTED: 1, HALF_OPEN: 1},
        FULL: {RESET: 35, WIPED: 25, RESTARTED: 25, HALF_OPEN: 15},
    },
    minutes={SMALL: 0.8, FULL: 6.0},
    surroundings=surroundings,
)
