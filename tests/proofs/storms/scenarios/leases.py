"""Steps that last three leases: half of them because their worker stands still, half because the provider does late what it was asked."""

import contextlib
import os
import signal
import time
from collections import Counter
from datetime import datetime

import psutil

from tests.proofs.black_box.processes import standing_still
from tests.proofs.black_box.waiting import NothingCame, wait_for
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spare_worker import SpareWorker, spare_worker
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

LEASE_S = 3.0  # at the scale at which storms run
THREE_LEASES_S = 3 * LEASE_S
AT_A_TIME = 10  # processes of the spare worker's pool
BLOCKING_READ_S = 1.3  # a worker asks the broker anew every second
ROUNDS = 3  # times as many as are wanted, at most
POINT = "before_call.do.payment"
LATE = "tok_slow_90s"  # at this scale the charge is made nine seconds after it was asked for


def happens(storm: Storm) -> None:
    late, wanted = storm.place(storm.how_many["late"], token=LATE), storm.how_many["frozen"]
    frozen, zombies = 0, 0
    with spare_worker(storm, AT_A_TIME) as spare:
        for _ in range(ROUNDS * wanted // AT_A_TIME):  # on a busy machine some are ended by their hard limit before they stand still
            if zombies >= wanted:
                break
            storm.show("standing still for three leases", zombies, wanted)
            stood, woke = _frozen(storm, spare)
            frozen, zombies = frozen + stood, zombies + woke
    storm.fault_ended()
    storm.rest(120)
    charges = Counter(effect["order"] for effect in storm.shop.effects() if effect["operation"] == "charge")
    waited = _came_three_leases_later(storm, late)
    storm.counts |= {"late at the provider": waited, "frozen": frozen, "zombies that woke up": zombies, "charges": sum(charges.values())}
    storm.expect(waited == len(late), f"only {waited} of {len(late)} charges came three leases after they were asked for")
    storm.expect(zombies >= wanted, f"only {zombies} of {frozen} that stood still for three leases woke up and were late")
    storm.expect(set(charges) == set(storm.numbers), f"{len(storm.numbers) - len(charges)} orders were not charged")
    storm.all_are_fulfilled()


def _frozen(storm: Storm, spare: SpareWorker) -> tuple[int, int]:
    """Orders reach their payment's call in the spare worker, which stands still there whole; the shop's own takes over. (stood still, woke up too late)."""
    shop = storm.shop
    spare.be_ready()
    with shop.stopped("saga"):
        with standing_still(spare.pids()):
            time.sleep(BLOCKING_READ_S)  # from now on the broker hands nothing to who stands still
            numbers = [shop.place_stubbornly() for _ in range(AT_A_TIME)]
            for number in numbers:
                shop.arm(f"{POINT}.{number}", "stop")
        storm.numbers += numbers
        with contextlib.suppress(NothingCame):
            wait_for(lambda: spare.has_ended() or all(shop.hit(f"{POINT}.{number}") for number in numbers), 30, every_s=0.01)
        spare.send(signal.SIGSTOP)  # it would end what takes longer than its hard limit
        stopped = [hit[0] for number in numbers if (hit := shop.hit(f"{POINT}.{number}"))]
        shop.disarm()  # where the spare has died, the shop's own must not stand still in its place
    time.sleep(THREE_LEASES_S)
    zombies = [pid for pid in stopped if _stands_still(pid)]
    for pid in zombies:
        os.kill(pid, signal.SIGCONT)
    with contextlib.suppress(NothingCame):
        wait_for(lambda: _woken(storm, numbers) >= len(zombies), 5)
    spare.send(signal.SIGCONT)
    return len(zombies), _woken(storm, numbers)


def _stands_still(pid: int) -> bool:
    """False too for what was ended and nobody has buried."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _woken(storm: Storm, numbers: list[str]) -> int:
    query = (
        "SELECT count(DISTINCT o.number) FROM orders_timelineentry t JOIN orders_order o ON o.id = t.order_id"
        " WHERE o.number = ANY(%s) AND t.kind = 'late'"
    )
    return int(storm.shop.sql(query, numbers)[0][0])


def _came_three_leases_later(storm: Storm, numbers: list[str]) -> int:
    query = (
        "SELECT o.number, r.first_started_at FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id"
        " JOIN orders_order o ON o.id = s.order_id WHERE r.name = 'payment' AND o.number = ANY(%s)"
    )
    asked = dict(storm.shop.sql(query, numbers))
    charges = [effect for effect in storm.shop.effects() if effect["operation"] == "charge" and effect["order"] in asked]
    return sum((datetime.fromisoformat(charge["at"]) - asked[charge["order"]]).total_seconds() >= THREE_LEASES_S for charge in charges)


SCENARIO = Scenario(
    name="leases",
    promise="Steps last three leases, by a worker that stands still or by a provider that does it late: one charge each.",
    happens=happens,
    sizes={SMALL: {"late": 5, "frozen": 10}, FULL: {"late": 50, "frozen": 50}},
    minutes={SMALL: 0.9, FULL: 7.3},
)
