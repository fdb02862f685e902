"""The whole stack dies at once, the database included, and is started again."""

import time

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

REST_WITHIN_S = 60
SLOW = "tok_slow_8s"  # eight tenths of a second at the scale at which storms run
STARTED = "SELECT count(*) FROM fulfillment_steprecord WHERE state = 'started'"


def happens(storm: Storm) -> None:
    with storm.shop.stopped("saga"):
        storm.place(2, token=SLOW)  # they are talked about in both processes of the pool when everything dies
        storm.place(storm.how_many["orders"] * 4 // 5 - 2)
        storm.place(storm.how_many["orders"] // 5, postal_code="00422")
    storm.until("reaching the bank", lambda: storm.shop.sql(STARTED)[0][0], 2, 20, every_s=0.01)
    in_flight, in_call = len(storm.numbers) - storm.at_rest(storm.numbers), storm.shop.sql(STARTED)[0][0]
    storm.stack.kill_everything()

    begun = time.monotonic()
    storm.start()
    storm.fault_ended()
    up = time.monotonic() - begun
    storm.rest(REST_WITHIN_S - up)
    storm.counts |= {
        "in flight": in_flight,
        "in a provider call": in_call,
        "up again after (s)": round(up),
        "at rest after (s)": round(time.monotonic() - begun),
    }
    storm.expect((in_flight, in_call) == (len(storm.numbers), 2), f"only {in_flight} orders were in flight, {in_call} of them at the bank")
    ended = storm.statuses(storm.numbers)
    expected = {"fulfilled": storm.how_many["orders"] * 4 // 5, "shipping_failed": storm.how_many["orders"] // 5}
    storm.expect(ended == expected, f"ended as {ended}, not as {expected}")


SCENARIO = Scenario(
    name="killed",
    promise="The whole stack dies with every order in flight: started again, all are at rest within 60 s.",
    happens=happens,
    sizes={SMALL: {"orders": 40}, FULL: {"orders": 200}},
    minutes={SMALL: 0.8, FULL: 1.0},
)
