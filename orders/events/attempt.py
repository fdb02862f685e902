"""Events of a step: each is about one attempt. What is tried again after a refusal is another attempt, and its event is another one."""

from dataclasses import dataclass

from orders.events.event import Event

EARLIER = 2  # than what follows from a step: a refund that is requested, and the end of the order


@dataclass(frozen=True, kw_only=True)
class EventOfAttempt(Event):
    """``attempt``: its number, of the step or of its compensation."""

    attempt: int = 1

    @property
    def occasion(self) -> str:
        return str(self.attempt)


@dataclass(frozen=True, kw_only=True)
class EventOfEffect(EventOfAttempt):
    """``by_hand``: it took place outside of the shop, and a person has said so."""

    by_hand: bool = False

    @property
    def occasion(self) -> str:
        return f"{self.attempt}:by_hand" if self.by_hand else super().occasion
