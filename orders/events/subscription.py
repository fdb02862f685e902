"""How a subscriber declares itself, and the events that it reacts to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from orders.events.event import Event


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """One subscriber's declaration. ``timeout_s`` and ``backoff_s`` in seconds before TIME_SCALE; ``outside``: it calls something that is not our database;
    ``seen_by_customers``: its effect reaches them, so that nobody repeats it for a thousand orders without having said so.
    """

    name: str
    events: tuple[type[Event], ...]
    handler: Callable[..., Any]
    timeout_s: float
    backoff_s: float
    outside: bool
    seen_by_customers: bool
    final: tuple[type[Exception], ...]
    of_this_one: tuple[type[Exception], ...]

    @property
    def types(self) -> frozenset[str]:
        return frozenset(event.type for event in self.events)

    def event_class(self, type_: str) -> type[Event] | None:
        """As what the handler receives an event of this type. None: it has not asked for it."""
        return next((event for event in self.events if event.type == type_), None)


Handler = TypeVar("Handler", bound=Callable[..., Any])


def subscriber(
    *events: type[Event],
    timeout_s: float = 10,
    backoff_s: float = 1,
    outside: bool = False,
    seen_by_customers: bool = False,
    final: tuple[type[Exception], ...] = (),
    of_this_one: tuple[type[Exception], ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare ``handler(event, delivery)`` a subscriber of these ``events``, one or several, under the function's name.

    A try is cut after ``timeout_s`` seconds. It is tried again for DELIVERY_LIMIT_S; exceptions listed in ``final`` dead-letter at once. Outside,
    any other says that the service does not answer, unless it is listed in ``of_this_one``: while three and more are not answered, all wait but one that asks.
    """

    def declare(handler: Handler) -> Handler:
        declared = Subscription(
            name=handler.__name__,
            events=events,
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
