"""The catalogue of public facts: frozen payloads, one Signal for each, and how a subscriber declares itself.

A fact is recorded once (``orders.facts``), by the one place where it becomes true, inside the transaction that makes it true. The signal only says so: who
hears it publishes early, and decides nothing.
"""

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from django.dispatch import Signal

NAMESPACE = uuid.UUID("6f1c7c0a-6d0e-5a54-9f1e-0d6c2b7f4a11")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line as sold; ``unit_price_minor`` in the order's currency."""

    sku: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True, kw_only=True)
class OrderFulfilled:
    """The order is paid, reserved and shipped. ``fulfilled_on`` is the UTC date, ISO 8601. Whoever needs the customer's name reads it from the order.

    Version 1 carried the customer's name and address.
    """

    type: ClassVar[str] = "order.fulfilled"
    version: ClassVar[int] = 2

    number: str
    currency: str
    total_minor: int
    tracking: str
    fulfilled_on: str
    lines: tuple[Line, ...]

    @property
    def fact_id(self) -> uuid.UUID:
        """The same fact has the same id, whichever version reports it, so recording it twice is once."""
        return uuid.uuid5(NAMESPACE, f"{self.number}:{self.type}:1")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, payload: dict[str, Any]) -> "OrderFulfilled":
        return cls(**{**payload, "lines": tuple(Line(**line) for line in payload["lines"])})


order_fulfilled = Signal()  # fact: OrderFulfilled


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """One subscriber's declaration. ``timeout_s`` and ``backoff_s`` in seconds before TIME_SCALE; ``outside``: it calls something that is not our database;
    ``seen_by_customers``: its effect reaches them, so that nobody repeats it for a thousand orders without having said so.
    """

    name: str
    fact: type[OrderFulfilled]
    handler: Callable[..., Any]
    timeout_s: float
    backoff_s: float
    outside: bool
    seen_by_customers: bool
    final: tuple[type[Exception], ...]
    of_this_one: tuple[type[Exception], ...]


Handler = TypeVar("Handler", bound=Callable[..., Any])


def subscriber(
    fact: type[OrderFulfilled],
    *,
    timeout_s: float = 10,
    backoff_s: float = 1,
    outside: bool = False,
    seen_by_customers: bool = False,
    final: tuple[type[Exception], ...] = (),
    of_this_one: tuple[type[Exception], ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare ``handler(event, delivery)`` a subscriber of ``fact``, under the function's name.

    A try is cut after ``timeout_s`` seconds. It is tried again for DELIVERY_LIMIT_S; exceptions listed in ``final`` dead-letter at once. Outside,
    any other says that the service does not answer, unless it is listed in ``of_this_one``: while three and more are not answered, all wait but one that asks.
    """

    def declare(handler: Handler) -> Handler:
        declared = Subscription(
            name=handler.__name__,
            fact=fact,
            handler=handler,
            timeout_s=timeout_s,
            backoff_s=backoff_s,
            outside=outside,
            seen_by_customers=seen_by_customers,
            final=final,
            of_this_one=of_this_one,
        )
        handler.subscription = declared  # type: ignore[attr-defined]
        return handler

    return declare
