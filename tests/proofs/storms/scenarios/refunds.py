"""The bank refuses some refunds for good, some parcels are on their way although their booking was never answered; then the bank refunds nothing for a while."""

import time

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

INCIDENTS = "SELECT subject, kind, step, amount_minor FROM orders_incident WHERE subject = ANY(%s) AND state = 'open'"
TOTALS = "SELECT number, total_minor FROM orders_order WHERE number = ANY(%s)"
OUT = "SELECT message, amount_minor FROM orders_incident WHERE kind = 'provider_down' AND subject = 'payments.sandbox.compensate' AND state = 'open'"
HELD = "SELECT count(*) FROM fulfillment_saga WHERE held_by = 'payments.sandbox.compensate'"
LONG_S = 12.0  # two minutes at the scale at which storms run; far longer than the tries of a compensation last
TRIES = "4"


def happens(storm: Storm) -> None:
    declined = storm.in_parallel("placing what the bank keeps", [lambda: _refused_for_good(storm)] * storm.how_many["declined"])
    kept = storm.in_parallel("placing what the carrier keeps", [lambda: _booked_and_cancelled(storm)] * storm.how_many["kept"])
    _each_has_an_incident(storm, declined, kept)
    with storm.shop.provider_down("refunds"):
        waiting = storm.place(storm.how_many["waiting"], postal_code="00422")
        _all_have_one_incident(storm, waiting)
    storm.fault_ended()
    storm.until("refunding", lambda: storm.statuses(waiting).get("shipping_failed", 0), len(waiting), 180)
    storm.until("closing", lambda: not storm.shop.sql(OUT), True, 30)
    _money_is_where_it_belongs(storm, waiting, kept, declined)


def _refused_for_good(storm: Storm) -> str:
    return storm.shop.place_stubbornly(token="tok_refund_declined", postal_code="00422")


def _booked_and_cancelled(storm: Storm) -> str:
    """Booked, never answered, and cancelled meanwhile; the carrier will reject the cancel of its label."""
    number = storm.shop.place_stubbornly(postal_code="00409")
    wait_for(lambda: storm.shop.step(number, "shipping")["tries"] > 0, 60, every_s=0.05)
    storm.expect(storm.shop.cancel(number).json().get("cancel") == "pending", f"{number}: its cancel was not taken as pending")
    return number


def _each_has_an_incident(storm: Storm, declined: list[str], kept: list[str]) -> None:
    """With the whole amount; and nobody is shown refunded."""
    both = declined + kept
    storm.until("being refused", lambda: len(storm.shop.sql(INCIDENTS, both)), len(both), 120)
    totals = dict(storm.shop.sql(TOTALS, both))
    for subject, kind, step, amount in storm.shop.sql(INCIDENTS, both):
        expected = ("compensation_exhausted", "payment" if subject in declined else "shipping", totals[subject])
        storm.expect((kind, step, amount) == expected, f"{subject}: its incident is {kind} {step} {amount}, not {expected}")
    storm.expect(storm.statuses(both) == {"compensating": len(both)}, f"refused for good: {storm.statuses(both)}")
    storm.counts["incidents"] = len(storm.shop.sql(INCIDENTS, both))


def _all_have_one_incident(storm: Storm, waiting: list[str]) -> None:
    """An outage is no order's: one incident says how many wait, and for how much."""
    storm.until("waiting for the bank", lambda: storm.shop.sql(HELD)[0][0], len(waiting), 120)
    time.sleep(LONG_S)
    single = storm.shop.sql(INCIDENTS, waiting)
    storm.expect(not single, f"{len(single)} orders had incidents of their own while the bank was out")
    storm.expect(storm.statuses(waiting) == {"compensating": len(waiting)}, f"while refunds are down: {storm.statuses(waiting)}")
    total = sum(dict(storm.shop.sql(TOTALS, waiting)).values())
    found = storm.shop.sql(OUT)
    storm.expect(len(found) == 1, f"{len(found)} incidents are about the outage")
    for message, amount in found:
        expected = f"{len(waiting)} orders wait"
        storm.expect(expected in message and amount == total, f"the incident is {message!r} and {amount}, not {expected!r} and {total}")
    storm.counts["waited"] = storm.shop.sql(HELD)[0][0]


def _money_is_where_it_belongs(storm: Storm, waiting: list[str], kept: list[str], declined: list[str]) -> None:
    totals = dict(storm.shop.sql(TOTALS, waiting + kept + declined))
    done: dict[str, list[tuple[str, int | None]]] = {number: [] for number in totals}
    for effect in storm.shop.effects():
        done[effect["order"]].append((effect["operation"], effect["amount"]))
    refunded = [number for number in waiting if done[number] == [("charge", totals[number]), ("refund", totals[number])]]
    still_paid = [number for number in kept if done[number] == [("charge", totals[number]), ("label", None)]]
    not_refunded = [number for number in declined if done[number] == [("charge", totals[number])]]
    storm.expect(len(refunded) == len(waiting), f"{len(waiting) - len(refunded)} orders are not refunded in full")
    storm.expect(len(still_paid) == len(kept), f"{len(kept) - len(still_paid)} parcels are on their way and not paid for")
    storm.expect(len(not_refunded) == len(declined), f"{len(declined) - len(not_refunded)} refunds that were refused for good took place")
    storm.expect(storm.statuses(kept) == {"compensating": len(kept)}, f"what is kept shows as {storm.statuses(kept)}")
    storm.counts |= {"refunded without a retry": len(refunded), "kept": len(still_paid)}


SCENARIO = Scenario(
    name="refunds",
    promise="Refunds refused for good: each has an incident. Refunds down: one incident is about all, and all are refunded when the bank is back, without a retry.",
    happens=happens,
    sizes={SMALL: {"declined": 4, "kept": 2, "waiting": 8}, FULL: {"declined": 45, "kept": 5, "waiting": 150}},
    minutes={SMALL: 0.9, FULL: 1.3},
    variables={"COMPENSATION_TRIES": TRIES},
)
