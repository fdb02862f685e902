"""The bank refunds nothing for a while; some parcels are on their way although their booking was never answered."""

from config.outside import wait_for
from config.storming.scenario import FULL, SMALL, Scenario
from config.storming.storm import Storm

TOLD = "SELECT subject, kind, step, amount_minor FROM orders_incident WHERE subject = ANY(%s) AND state = 'open'"
TOTALS = "SELECT number, total_minor FROM orders_order WHERE number = ANY(%s)"


def happens(storm: Storm) -> None:
    shop = storm.shop
    with shop.provider_down("refunds"):
        kept = storm.in_parallel("placing what the carrier keeps", [lambda: _booked_and_cancelled(storm)] * storm.how_many["kept"])
        refused = storm.place(storm.how_many["refused"], postal_code="00422")
        _everybody_is_told(storm, refused, kept)
    run = shop.manage("retry_orders", "--kind", "undo_exhausted", "--yes", "--actor", "amara", "--reason", "the bank is back", within_s=300)
    storm.expect(run.returncode == 0, f"the bulk retry exits with {run.returncode}: {run.stderr.strip()}")
    storm.until("refunding", lambda: storm.statuses(refused).get("shipping_failed", 0), len(refused), 180)
    storm.until("telling of what is kept", lambda: len(shop.sql(TOLD, kept)), len(kept), 60)
    _money_is_where_it_belongs(storm, refused, kept)


def _booked_and_cancelled(storm: Storm) -> str:
    """Booked, never answered, and cancelled meanwhile; the carrier will reject the cancel of its label."""
    number = storm.shop.place_stubbornly(postal_code="00409")
    wait_for(lambda: storm.shop.step(number, "shipping")["tries"] > 0, 60, every_s=0.05)
    storm.expect(storm.shop.cancel(number).json().get("cancel") == "pending", f"{number}: its cancel was not taken as pending")
    return number


def _everybody_is_told(storm: Storm, refused: list[str], kept: list[str]) -> None:
    """With the whole amount; and nobody is shown refunded."""
    both = refused + kept
    storm.until("running out of tries", lambda: len(storm.shop.sql(TOLD, both)), len(both), 240)
    totals = dict(storm.shop.sql(TOTALS, both))
    for subject, kind, step, amount in storm.shop.sql(TOLD, both):
        expected = ("undo_exhausted", "payment" if subject in refused else "shipping", totals[subject])
        storm.expect((kind, step, amount) == expected, f"{subject}: told {kind} {step} {amount}, not {expected}")
    storm.expect(storm.statuses(both) == {"compensating": len(both)}, f"while refunds are down: {storm.statuses(both)}")
    storm.counts["told"] = len(storm.shop.sql(TOLD, both))


def _money_is_where_it_belongs(storm: Storm, refused: list[str], kept: list[str]) -> None:
    totals = dict(storm.shop.sql(TOTALS, refused + kept))
    done: dict[str, list[tuple[str, int | None]]] = {number: [] for number in totals}
    for effect in storm.shop.effects():
        done[effect["order"]].append((effect["operation"], effect["amount"]))
    refunded = [number for number in refused if done[number] == [("charge", totals[number]), ("refund", totals[number])]]
    still_paid = [number for number in kept if done[number] == [("charge", totals[number]), ("label", None)]]
    storm.expect(len(refunded) == len(refused), f"{len(refused) - len(refunded)} orders are not refunded in full")
    storm.expect(len(still_paid) == len(kept), f"{len(kept) - len(still_paid)} parcels are on their way and not paid for")
    storm.expect(storm.statuses(kept) == {"compensating": len(kept)}, f"what is kept shows as {storm.statuses(kept)}")
    storm.counts |= {"refunded after one bulk retry": len(refunded), "kept": len(still_paid)}


SCENARIO = Scenario(
    name="refunds",
    promise="Refunds are down: everybody is told, nobody is shown refunded; one bulk retry refunds all but those whose parcel has left.",
    happens=happens,
    sizes={SMALL: {"refused": 10, "kept": 2}, FULL: {"refused": 195, "kept": 5}},
    minutes={SMALL: 0.6, FULL: 1.1},
    variables={"UNDO_TRIES": "6"},
)
