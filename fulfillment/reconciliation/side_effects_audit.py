"""What a reconciliation asks the side effects. They are unknown to this package: whoever starts a reconciliation hands their audit in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol


class SideEffectsAudit(Protocol):
    """A module may implement it."""

    def missing_deliveries(self, orders: Sequence[int]) -> Mapping[int, Sequence[tuple[str, tuple[str, ...]]]]:
        """By order id, for each recorded fact: its type, and the subscribers that are owed it and have no delivery of it. They are none while the relay has not
        come to the fact.
        """

    def complaints(self, since: datetime | None, doubted: Collection[str]) -> Iterator[tuple[str, str]]:
        """(subscriber, what is off). ``since``: only about facts from then on (None: about all), unless the subscriber is ``doubted``."""
