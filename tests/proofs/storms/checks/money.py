"""Where is the money? After every storm each captured minor unit is in one place, and together they are what the provider says that it took."""

import time
from collections import Counter
from typing import Any

from tests.proofs.storms.storm import Storm

WITHIN_S = 60.0  # of calm
PLACES = ("earned", "given_back", "in_flight", "at_risk", "unexplained")


def money_is_explained(storm: Storm) -> tuple[int, dict[str, Any]]:
    """Adds a breach for each currency in which something is unexplained, or does not add up. Returns the exit code and the report of the last reconciliation."""
    deadline = time.monotonic() + storm.within(WITHIN_S)
    code, report = storm.shop.reconcile()
    while any(one["unexplained"] for one in report["money"].values()) and time.monotonic() < deadline:
        time.sleep(1)
        code, report = storm.shop.reconcile()
    for currency, one in report["money"].items():
        storm.counts[f"{currency} captured and explained"] = f"{one['captured'] - one['unexplained']} of {one['captured']}"
        storm.expect(one["unexplained"] == 0, f"nobody can explain {one['unexplained']} {currency} (minor units)")
        storm.expect(one["captured"] == sum(one[place] for place in PLACES), f"{currency} is in more than one place, or in none: {one}")
    if not storm.scenario.lies:  # where something was planted, orders may still be on their way
        captured = {currency: one["captured"] for currency, one in report["money"].items()}
        taken = _taken(storm)
        storm.expect(captured == taken, f"explained is {captured}, and the provider took {taken} (minor units)")
    return code, report


def _taken(storm: Storm) -> dict[str, int]:
    """By what the provider says that it did."""
    sums: Counter[str] = Counter()
    for effect in storm.shop.effects():
        if effect["operation"] == "charge":
            sums[effect["currency"]] += effect["amount"]
    return dict(sums)
