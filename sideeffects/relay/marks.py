"""Up to where one relay has read its queues."""

from dataclasses import dataclass, field

from orders.lowwater import LowWater


@dataclass
class Marks:
    """``unnumbered``, ``due``, ``launched``: the low-water marks of facts without a number, of deliveries that are due, and of deliveries that were published.

    ``relayed``: every fact below this number is relayed. ``inspected``: the number of the last fact that was inspected since the relay began with the oldest;
    0: it begins with the oldest. ``at_work``: the subscribers whose circuit held their deliveries back at the last inspection.
    """

    unnumbered: LowWater = field(default_factory=LowWater)
    relayed: int = 0
    inspected: int = 0
    due: LowWater = field(default_factory=LowWater)
    launched: LowWater = field(default_factory=LowWater)
    at_work: frozenset[str] = frozenset()
