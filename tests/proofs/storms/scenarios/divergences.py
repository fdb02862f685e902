"""The providers did a hundred things that nobody asked them for: one reconciliation finds all of them, and nothing else."""

import time

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

OF_A_KIND = 5  # kinds that are planted, the same number of each
Found = tuple[str, str, str, int]  # subject, rule, kind of incident, amount in minor units
ORPHAN, MISMATCH = "orphan_payment", "mismatch"


def happens(storm: Storm) -> None:
    clean, planted = storm.how_many["clean"], storm.how_many["planted"]
    fulfilled = storm.place(clean * 4 // 5)
    failed = storm.place(clean // 5, postal_code="00422")
    if not storm.rest(60 + clean / 3):
        return
    begun = time.monotonic()
    code, report = storm.shop.reconcile()
    storm.counts |= {
        "clean orders": report["judged"],
        "findings among them": len(report["findings"]),
        "reconciled (s)": round(time.monotonic() - begun),
    }
    storm.expect((code, report["findings"], report["judged"]) == (0, [], clean), f"on clean orders: exit {code}, {report['findings'][:3]}")

    with storm.shop.stopped("sweep"):
        expected = _plant(storm, fulfilled, failed, planted // OF_A_KIND)
        code, report = storm.shop.reconcile()
    storm.fault_ended()
    found = [(one["subject"], one["rule"], one["kind"], one["amount_minor"]) for one in report["findings"]]
    storm.counts |= {"planted": len(expected), "found": len(set(found) & set(expected))}
    storm.expect(code == 1, f"with {planted} divergences reconcile exits with {code}")
    storm.expect(len(expected) == planted, f"only {len(expected)} were planted")
    storm.expect(sorted(found) == sorted(expected), f"wrongly found or overlooked: {sorted(set(found) ^ set(expected))[:5]}")
    storm.expect(storm.shop.reconcile()[0] == 1, "a second reconciliation finds nothing any more")
    incidents = storm.shop.sql("SELECT subject, code, kind, amount_minor FROM orders_incident ")
    storm.expect(report["repaired"] == 0, "something was repaired that only a person may judge")
    storm.expect(sorted(incidents) == sorted(expected), f"{len(incidents)} incidents are open")


def _plant(storm: Storm, fulfilled: list[str], failed: list[str], each: int) -> list[Found]:
    """Every one of its own order, ``each`` of: a second charge, a refund of what was fulfilled, a charge of what failed, a second label, an unknown order."""
    shop, found = storm.shop, list[Found]()
    totals = dict(shop.sql("SELECT number, total_minor FROM orders_order"))
    for n in range(each):
        storm.show("planting", n * OF_A_KIND, each * OF_A_KIND)
        second, refunded, doubled = fulfilled[n], fulfilled[each + n], fulfilled[2 * each + n]
        charged, booked, unknown = failed[n], failed[each + n], f"ORD-NOBODY{n}"
        parcel = doubled if n % 2 else booked
        shop.plant("charge", second, shop.key(second, "payment", 2), 1000 + n)
        shop.plant("refund", refunded, shop.key(refunded, "payment"), 1 + n)
        shop.plant("charge", charged, shop.key(charged, "payment", 2), 3000 + n)
        shop.plant("label", parcel, shop.key(parcel, "shipping", 2))
        shop.plant("charge", unknown, f"{unknown}:payment:do:1", 5000 + n)
        storm.planted |= {second, refunded, charged, parcel, unknown}
        found += [
            (second, "charge_nobody_owns", ORPHAN, 1000 + n),
            (refunded, "refunded_though_fulfilled", MISMATCH, 1 + n),
            (charged, "charge_nobody_owns", ORPHAN, 3000 + n),
            (parcel, "label_nobody_owns", ORPHAN, totals[parcel]),
            (unknown, "unknown_order", ORPHAN, 5000 + n),
        ]
    return found


SCENARIO = Scenario(
    name="divergences",
    promise="A hundred things that providers did and nobody asked for: one reconciliation finds all of them, and nothing on 2,000 clean orders.",
    happens=happens,
    sizes={SMALL: {"clean": 60, "planted": 20}, FULL: {"clean": 2000, "planted": 100}},
    minutes={SMALL: 0.7, FULL: 4.7},
    lies=True,
)
