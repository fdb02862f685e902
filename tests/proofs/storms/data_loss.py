"""What a restored backup does not know: by the provider's own ledger, by what clients were answered, and by the restored rows. Nothing here asks ``recover``."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.proofs.storms.storm import Storm

NUMBERS = "SELECT number FROM orders_order"
OPEN = "SELECT o.number, s.state FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE s.closed_at IS NULL"


@dataclass
class Done:
    """What the provider did for one order; money in minor units."""

    charged: int = 0
    refunded: int = 0
    times: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, effect: dict[str, Any]) -> None:
        self.times[effect["operation"]] += 1
        self.charged += effect["amount"] if effect["operation"] == "charge" else 0
        self.refunded += effect["amount"] if effect["operation"] == "refund" else 0

    @property
    def left(self) -> int:
        return self.charged - self.refunded

    @property
    def is_open(self) -> bool:
        """The provider still holds something of it."""
        return self.left > 0 or self.times["label"] > self.times["cancel_label"]

    @property
    def gave_back(self) -> bool:
        return bool(self.times["refund"] or self.times["cancel_label"])


def done(effects: Iterable[dict[str, Any]]) -> dict[str, Done]:
    """By order. Whoever is asked for has done nothing, if it is not there."""
    found: dict[str, Done] = defaultdict(Done)
    for effect in effects:
        found[effect["order"]].add(effect)
    return found


def place(number: str) -> int:
    return int(number.removeprefix("ORD-"))


@dataclass(frozen=True, kw_only=True)
class DataLoss:
    """``acknowledged`` orders were answered 201; ``effects`` is the provider's ledger when the database was lost; ``state`` is of the orders that the backup holds
    open: running, compensating, or needs_attention.
    """

    acknowledged: frozenset[str]
    known: frozenset[str]
    state: dict[str, str]
    effects: list[dict[str, Any]]
    done: dict[str, Done]

    @property
    def forgotten(self) -> frozenset[str]:
        """Orders of which only their customers and the provider know."""
        return self.acknowledged - self.known

    @property
    def on_record(self) -> set[str]:
        """Those of them for which the provider lists anything, given back or not."""
        return {number for number in self.forgotten if self.done[number].charged or self.done[number].times["label"]}

    @property
    def newer(self) -> set[str]:
        """Those of them whose numbers are greater than every one that the backup holds: of two that were written side by side, the older one may be missing."""
        newest = max(map(place, self.known))
        return {number for number in self.on_record if place(number) > newest}

    @property
    def held(self) -> dict[str, int]:
        """Those of them for which the provider still holds something: what is at risk."""
        return {number: self.done[number].left for number in self.on_record if self.done[number].is_open}

    @property
    def differing(self) -> set[str]:
        """Open, and on their way forward by the backup, while the provider has given something back: no try of theirs explains that."""
        return {number for number, state in self.state.items() if state == "running" and self.done[number].gave_back}

    @property
    def waiting(self) -> set[str]:
        """For a person, by the backup."""
        return {number for number, state in self.state.items() if state == "needs_attention"}

    @property
    def turning_back(self) -> set[str]:
        return {number for number, state in self.state.items() if state == "compensating"}


def read(storm: Storm, acknowledged: Collection[str]) -> DataLoss:
    """When the backup stands in the place of what was lost, and nobody has worked on it."""
    effects = storm.shop.effects()
    return DataLoss(
        acknowledged=frozenset(acknowledged),
        known=frozenset(number for (number,) in storm.shop.sql(NUMBERS)),
        state=dict(storm.shop.sql(OPEN)),
        effects=effects,
        done=done(effects),
    )
