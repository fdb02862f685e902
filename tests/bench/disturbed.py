"""What strangers cost the clients of the API: orders are placed all the time, first alone, then beside slow connections, then beside logins."""

import contextlib
from collections.abc import Callable, Iterator

from tests.bench.arrivals import by_the_clock, send
from tests.bench.figures import ratio, table
from tests.bench.phases import Asked, Phases
from tests.bench.shop import MeasuredShop, open_shop
from tests.bench.strangers import strangers

ORDERS_PER_S = 10.0
SLOW, LOGINS = 20, 24
GOAL = 2.0
ALONE, BESIDE_SLOW, BESIDE_LOGINS = "undisturbed", f"{SLOW} slow connections", f"{LOGINS} parallel logins"
Disturbance = Callable[[], contextlib.AbstractContextManager[Callable[[], str]]]


def show(asked: Asked) -> int:
    """The exit code."""
    phases = Phases(asked, per_round=3)
    with open_shop(asked.folder) as shop:
        send(shop.orders, [0.0] * asked.warm_up, senders=8)
        shop.rest()
        disturbances = _disturbances(shop)
        for number in range(asked.rounds):
            for name, disturbance in disturbances.items():
                with disturbance() as what_came_of_it:
                    figures = shop.measure(by_the_clock(ORDERS_PER_S, asked.seconds, str(number)))
                phases.add(number, name, figures, what_came_of_it())
                shop.rest()
    return _tell(phases)


def _disturbances(shop: MeasuredShop) -> dict[str, Disturbance]:
    admin = shop.stack.info["admin"]
    return {
        ALONE: _nothing,
        BESIDE_SLOW: lambda: strangers("slow", port=shop.port, count=SLOW),
        BESIDE_LOGINS: lambda: strangers("logins", port=shop.port, count=LOGINS, **admin),
    }


@contextlib.contextmanager
def _nothing() -> Iterator[Callable[[], str]]:
    yield lambda: ""


def _tell(phases: Phases) -> int:
    rows = phases.rows
    phases.say(table(rows, to=ALONE))
    for name in (BESIDE_SLOW, BESIDE_LOGINS):
        phases.say(f"{name}: p95 is {ratio(rows[name], rows[ALONE], 95):.2f} × undisturbed; the goal is {GOAL:g} ×")
    return phases.end("disturbed")
