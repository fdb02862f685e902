"""What it costs to accept an order, beside a plain create of the same rows: in turns, several rounds, and the medians of the rounds."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.arrivals import Answered, by_the_clock, send
from tests.bench.figures import ratio, table
from tests.bench.phases import Asked, Phases
from tests.bench.plain.server import PlainService, plain_service
from tests.bench.shop import MeasuredShop, measured, open_shop
from tests.fuzz.server import free_port

WANTED_PER_S = 20.0
SIDE_BY_SIDE = 8  # clients, while the saturation is measured
GOAL = 1.5
ALONE, PLAIN = "the shop, its chain running", "plain create, nothing else"
BESIDE, PLAIN_BESIDE = "the shop, and plain creates", "plain create, and the shop"


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Orders a second, from clients that wait for each answer: how many are accepted, and how many go through the whole shop, side effects included."""

    accepted_per_s: float
    through_per_s: float

    @property
    def used_per_s(self) -> float:
        return min(WANTED_PER_S, self.through_per_s / 2)

    def __str__(self) -> str:
        return (
            f"saturation: {self.through_per_s:.1f} orders/s go through the whole shop ({self.accepted_per_s:.1f}/s are accepted meanwhile); "
            f"measured at {self.used_per_s:.1f} requests/s"
        )


def show(asked: Asked) -> int:
    """The exit code: every request is answered, and every order that was placed is fulfilled."""
    phases = Phases(asked, per_round=3)
    with open_shop(asked.folder) as shop, plain_service(shop, free_port()) as plain:
        send(shop.orders, [0.0] * asked.warm_up, SIDE_BY_SIDE)
        send(plain.orders, [0.0] * asked.warm_up, SIDE_BY_SIDE)
        shop.rest()
        saturation = _saturation(shop, asked.flood)
        phases.say(str(saturation))
        for number in range(asked.rounds):
            _round(phases, shop, plain, saturation.used_per_s, asked.seconds, number)
        return _tell(phases, shop, asked)


def _saturation(shop: MeasuredShop, orders: int) -> Saturation:
    begun = time.monotonic()
    answered: list[Answered] = send(shop.orders, [0.0] * orders, SIDE_BY_SIDE)
    accepted_s = time.monotonic() - begun
    shop.rest()
    through_s = time.monotonic() - begun
    good = sum(one.status == 201 for one in answered)
    return Saturation(accepted_per_s=good / accepted_s, through_per_s=good / through_s)


def _round(phases: Phases, shop: MeasuredShop, plain: PlainService, per_s: float, seconds: float, number: int) -> None:
    due, due_of_others = (by_the_clock(per_s, seconds, f"{number} {whose}") for whose in ("ours", "others"))
    phases.add(number, ALONE, shop.measure(due))
    shop.rest()
    phases.add(number, PLAIN, measured(plain.orders, due, plain.pid))
    with ThreadPoolExecutor(1) as other:
        beside = other.submit(measured, plain.orders, due_of_others, plain.pid)
        ours = shop.measure(due)
    phases.add_all(number, {BESIDE: ours, PLAIN_BESIDE: beside.result()})
    shop.rest()


def _tell(phases: Phases, shop: MeasuredShop, asked: Asked) -> int:
    rows = phases.rows
    phases.say(table({name: rows[name] for name in (PLAIN, ALONE)}, to=PLAIN))
    phases.say(table({name: rows[name] for name in (PLAIN_BESIDE, BESIDE)}, to=PLAIN_BESIDE))
    found = ratio(rows[ALONE], rows[PLAIN], 50)
    same = ratio(rows[BESIDE], rows[PLAIN_BESIDE], 50)
    phases.say(
        f"to accept an order takes {found:.2f} × a plain create (median), {same:.2f} × where both share the machine; the goal is {GOAL} ×"
    )
    fulfilled = shop.fulfilled()
    missing = shop.placed + asked.warm_up + asked.flood - fulfilled
    return phases.end("accept", f"; {fulfilled:,} orders fulfilled, {missing} not", missing=abs(missing))
