"""What a step is: a few methods that call a provider (or our own stock) and do nothing else. The engine owns keys, tries, the fencing token and the journal."""

import enum
from dataclasses import dataclass
from typing import Any, ClassVar

from orders.events import Event
from orders.models import Order

Receipt = dict[str, Any]


class Kind(enum.Enum):
    """COMPENSABLE: it can be compensated. PIVOT: once it has succeeded, the saga only goes forward.

    RETRIABLE: after the pivot; a rejection is tried again, until the budget is spent. Then a person decides.
    """

    COMPENSABLE = "compensable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


@dataclass(frozen=True, kw_only=True)
class Compensation:
    """What a compensation may do, fixed when it was scheduled: its own ``key``, the step's ``do_key``, the step's receipt, the amount in minor units.

    ``receipt`` None: nobody knows whether the step took place.
    """

    key: str
    do_key: str
    receipt: Receipt | None
    amount_minor: int | None
    currency: str


@dataclass(frozen=True, kw_only=True)
class StepEvents:
    """Which public event says that the step has succeeded, that the order turns back because of it, that its compensation is requested, and that it is compensated.

    None: nobody is told. An event takes its fields from the order (``number``, ``currency``), from the attempt (``attempt``, ``code``, ``by_hand``,
    ``amount_minor``), and from the receipt, by their names. A field that none of them may have needs a default.
    """

    succeeded: type[Event] | None = None
    failed: type[Event] | None = None
    compensation_requested: type[Event] | None = None
    compensated: type[Event] | None = None


class Step:
    """To add one: subclass, set ``name`` and ``kind``, write the three methods, and add an instance to ``STEPS``."""

    name: ClassVar[str]
    kind: ClassVar[Kind]
    local: ClassVar[bool] = False  # True: it works on our own rows, and commits together with the journal
    role: ClassVar[str] = ""  # whose provider it calls ("payments", "carrier"); the plan pins it, and the engine goes by its capabilities
    compensation_blocks: ClassVar[bool] = False  # True: while its compensation has failed, no step before it is compensated
    skippable: ClassVar[bool] = False  # True: after the pivot, a person may decide to do without it
    tries: ClassVar[int | None] = None  # None: STEP_TRIES
    compensation_tries: ClassVar[int | None] = None  # None: COMPENSATION_TRIES
    deadline_s: ClassVar[float | None] = None  # seconds before TIME_SCALE, from its first start; None: STEP_DEADLINE_S
    version: ClassVar[int] = 1
    also_serves: ClassVar[tuple[int, ...]] = ()  # earlier versions whose plans and receipts this code still understands
    formerly: ClassVar[tuple[str, ...]] = ()  # earlier names, under which sagas in flight know it
    receipt_fields: ClassVar[tuple[str, ...]] = ()  # what the compensation needs of a receipt; a receipt without them counts as none
    events: ClassVar[StepEvents] = StepEvents()  # what the world is told of it

    def asks_minor(self, order: Order) -> int | None:
        """Minor units of the order's currency that ``execute`` takes. An answer with another amount does not count as done. None: it takes no money."""
        return None

    def execute(self, order: Order, key: str) -> Receipt:
        """Do it, under ``key``. Money in the receipt is ``amount_minor``, with ``currency`` if the provider says it. Raises Rejected, Unavailable, InDoubt."""
        raise NotImplementedError

    def compensate(self, order: Order, compensation: Compensation) -> Receipt | None:
        """Compensate what ``compensation`` describes. It does no harm when it is repeated. Money given back is ``amount_minor`` of the result, with ``currency``.

        Raises Rejected, Unavailable, InDoubt.
        """
        raise NotImplementedError

    def resolve(self, order: Order, key: str) -> Receipt | None:
        """What became of ``key``: a receipt. None: nothing is known under it. Raises Unavailable, InDoubt."""
        raise NotImplementedError

    def left(self, order: Order, key: str) -> int | None:
        """What is still there of the effect under ``key``: minor units of money; 1 for a thing; 0 for nothing. None: this cannot be asked."""
        return None
