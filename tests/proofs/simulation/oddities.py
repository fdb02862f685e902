"""Oddities: a provider that takes, or gives back, another amount than it was asked for, or in another currency; support, which refunds there by hand; and a
provider that gives back more than it has taken, if it is asked twice.

In a share of all histories, by a die of their own, so that the other histories are what they would be without.
"""

import random
from collections.abc import Sequence

SHARE = 0.25  # of all histories
OFTEN = 0.2  # of the answers in such a history
HOME, ABROAD = "EUR", "IDR"
CHARGES = ("other amount", "nothing", "other currency")
REFUNDS = ("a part", "nothing")


class Oddities:
    """``next``: what a scripted case wants to happen at the next occasion. ``gives_back_twice``: only where nobody else refunds, or it would be nobody's fault."""

    def __init__(self, seed: int) -> None:
        self.die = random.Random(f"{seed} oddities")
        self.happen = self.die.random() < SHARE
        self.gives_back_twice = not self.happen and random.Random(f"{seed} refunds").random() < SHARE
        self.are_over = False
        self.next = ""

    def of_charge(self, amount: int) -> tuple[int, str]:
        """What is taken instead, in minor units, and in which currency."""
        odd = self._drawn(CHARGES)
        taken = {"other amount": self.die.choice((1, amount - 1, amount + 1)), "nothing": 0}.get(odd, amount)
        return taken, ABROAD if odd == "other currency" else HOME

    def of_refund(self, wanted: int) -> int:
        """What is given back instead; a provider that says "nothing" does nothing."""
        odd = self._drawn(REFUNDS)
        return {"a part": max(wanted // 3, 1), "nothing": 0}.get(odd, wanted)

    def by_support(self, left: int) -> int:
        """What support gives back of what is left."""
        return left if self.next or self.die.random() < 0.5 else max(left // 3, 1)

    def _drawn(self, odd: Sequence[str]) -> str:
        if self.next in odd:
            drawn, self.next = self.next, ""
            return drawn
        return self.die.choice(odd) if self.happen and not self.are_over and self.die.random() < OFTEN else ""
