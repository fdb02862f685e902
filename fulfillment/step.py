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
    role: ClassVar[str] = ""  # whose provider it talks to ("payments", "carrier"), which the plan pins and whose card is obeyed
    undo_blocks: ClassVar[bool] = False  # True: while its undo has failed, no step before it is undone
    skippable: ClassVar[bool] = False  # True: after the pivot, a person may decide to do without it
    tries: ClassVar[int | None] = None  # None: STEP_TRIES
    undo_tries: ClassVar[int | None] = None  # None: UNDO_TRIES
    deadline_s: ClassVar[float | None] = None  # seconds before TIME_SCALE, from its first start; None: STEP_DEADLINE_S
    version: ClassVar[int] = 1
    also_serves: ClassVar[tuple[int, ...]] = ()  # earlier versions whose plans and receipts this code still understands
    formerly: ClassVar[tuple[str, ...]] = ()  # earlier names, under which sagas in flight know it
    receipt_fields: ClassVar[tuple[str, ...]] = ()  # what an undo needs of a receipt; one without them counts as no receipt

    def asks_minor(self, order: Order) -> int | None:
        """Minor units of the order's currency that ``execute`` takes: an answer with another amount does not count as done. None: it takes no money."""
        return None

    def execute(self, order: Order, key: str) -> Receipt:
        """Do it, under ``key``; money in the receipt is ``amount_minor``, and its ``currency`` if the provider says so. Raises Rejected, Unavailable, InDoubt."""
        raise NotImplementedError

    def compensate(self, order: Order, undo: Undo) -> Receipt | None:
        """Undo what ``undo`` describes; harmless when repeated. Money given back is ``amount_minor`` of the result, and ``currency``.

        Raises Rejected, Unavailable, InDoubt.
        """
        raise NotImplementedError

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """What became of ``key``: a receipt, or None when nothing did. Raises Unavailable, InDoubt."""
        raise NotImplementedError

    def left(self, order: Order, key: str) -> int | None:
        """What is still there of the effect under ``key``: minor units of money, 1 for a thing, 0 for nothing; None: this cannot be asked."""
        return None
