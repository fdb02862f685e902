"""The broker's connections are reset, it is wiped, killed and restarted, and its lines go dead without a word, a hundred times."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.proofs.black_box.waiting import NothingCame, wait_for
from tests.proofs.storms.broker_link import BrokerLink, why_not
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

FLOWS_WITHIN_S = 15.0
UNDER_WAY = 3  # orders that have just been placed when the broker is struck
RESET, WIPED, RESTARTED, HALF_OPEN = "reset", "wiped", "restarted", "half-open"
DEAF = "this worker is deaf and ends itself"


@contextmanager
def surroundings(storm: Storm) -> Iterator[dict[str, str]]:
    storm.broker_link = BrokerLink(storm.run_dir.with_name("broker-line"))
    with storm.broker_link.standing():
        yield {"CELERY_BROKER_URL": storm.broker_link.url}


def happens(storm: Storm) -> None:
    link = storm.broker_link
    assert link is not None
    kinds = [kind for kind in (RESET, WIPED, RESTARTED, HALF_OPEN) for _ in range(storm.how_many[kind])]
    if not link.can_vanish:
        storm.counts["not shown"] = why_not()
        kinds = [kind for kind in kinds if kind != HALF_OPEN]
    storm.rng.shuffle(kinds)
    storm.numbers.append(storm.shop.place_stubbornly())
    storm.rest(30)
    slowest: dict[str, float] = {}
    deaf = _deaf(storm)
    for done, kind in enumerate(kinds):
        storm.show(kind, done, len(kinds))
        storm.numbers += [storm.shop.place_stubbornly() for _ in range(UNDER_WAY)]
        _strike(storm, link, kind)
        slowest[kind] = max(slowest.get(kind, 0.0), round(_until_orders_flow(storm, kind), 1))
    storm.fault_ended()
    storm.counts |= {"faults": len(kinds)} | {f"{kind}: flows after at most (s)": seconds for kind, seconds in slowest.items()}
    storm.counts["workers that ended themselves"] = _deaf(storm) - deaf
    storm.rest(60)
    storm.all_are_fulfilled()


def _strike(storm: Storm, link: BrokerLink, kind: str) -> None:
    if kind == RESET:
        for connections in ("normal", "pubsub"):
            link.client().client_kill_filter(_type=connections, skipme=True)
    elif kind == WIPED:
        link.client().flushall()
    elif kind == RESTARTED:
        link.restart(storm.rng.uniform(0, 3))
    else:
        link.vanish()


def _until_orders_flow(storm: Storm, kind: str) -> float:
    """Seconds until an order placed now is fulfilled, whether or not a worker must end itself for that; a breach, if they are too many."""
    begun = time.monotonic()
    number = storm.shop.place_stubbornly()
    storm.numbers.append(number)
    with contextlib.suppress(NothingCame):
        wait_for(lambda: storm.shop.order(number)["status"] == "fulfilled", 90, every_s=0.1)
    took_s = time.monotonic() - begun
    storm.expect(took_s <= storm.within(FLOWS_WITHIN_S), f"{kind}: orders flowed after {took_s:.1f} s")
    return took_s


def _deaf(storm: Storm) -> int:
    return sum((storm.run_dir / "log" / f"{role}.log").read_text(errors="replace").count(DEAF) for role in ("saga", "sideeffects"))


SCENARIO = Scenario(
    name="broker",
    promise="A hundred faults of the broker: orders flow again within 15 s of each.",
    happens=happens,
    sizes={
        SMALL: {RESET: 2, WIPED: 1, RESTARTED: 1, HALF_OPEN: 1},
        FULL: {RESET: 35, WIPED: 25, RESTARTED: 25, HALF_OPEN: 15},
    },
    minutes={SMALL: 0.8, FULL: 5.0},
    surroundings=surroundings,
)
