"""What a step is: pure talk with a provider (or with our own stock) in three verbs. The engine owns keys, tries, fencing and the journal."""

import enum
from dataclasses import dataclass
from typing import Any, ClassVar

from orders.models import Order

Receipt = dict[str, Any]


class Kind(enum.Enum):
    """COMPENSABLE: can be undone. PIVOT: once it has succeeded the saga only goes forward. RETRIABLE: after the pivot, never rejected for good."""

    COMPENSABLE = "compensable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What an undo was granted, fixed at its grant: its own ``key``, the step's ``do_key``, what the step left behind, the amount in minor units.

    ``receipt`` is None where nobody knows whether the step took place.
    """

    key: str
    do_key: str
    receipt: Receipt | None
    amount_minor: int | None
    currency: str


class Step:
    """Subclass, set ``name`` and ``kind``, write the three verbs, and add an instance to ``STEPS``."""

    name: ClassVar[str]
    kind: ClassVar[Kind]
    local: ClassVar[bool] = False  # True: works on our own rows and commits together with the journal
    version: ClassVar[int] = 1

    def execute(self, order: Order, key: str) -> Receipt:
        """Do it, under ``key``. Raises Rejected, Unavailable, InDoubt."""
        raise NotImplementedError

    def compensate(self, order: Order, undo: Undo) -> None:
        """Undo what ``undo`` describes; harmless when repeated. Raises Rejected, Unavailable, InDoubt."""
        raise NotImplementedError

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """What became of ``key``: a receipt, or None when nothing did. Raises Unavailable, InDoubt."""
        raise NotImplementedError
