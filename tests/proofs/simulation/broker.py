"""The virtual broker: a bag of messages without any order, which the history loses and doubles."""

from dataclasses import dataclass
from typing import Any

from fulfillment.engine import Launch


@dataclass(frozen=True)
class Message:
    """A task message: the first of ``steps`` is its task, the rest of the chain follows it. ``errback``: the chain stopped."""

    saga: int
    epoch: int
    order: str
    compensating: bool
    steps: tuple[str, ...]
    errback: bool = False

    @property
    def task(self) -> str:
        return "failed" if self.errback else ("compensate_" if self.compensating else "") + self.steps[0]

    def chain(self) -> list[dict[str, Any]]:
        """What follows, as Celery hands it to a task: the next is the last."""
        return [{"task": f"fulfillment.{rest.task}", "args": [], "kwargs": self.arguments()} for rest in reversed(self._rest())]

    def follow(self, left: int) -> "Message | None":
        """The next of the chain, of which so many are ``left``: what has run in the same task is none of it any more."""
        return next((rest for rest in self._rest() if len(rest.steps) == left), None)

    def _rest(self) -> "list[Message]":
        starts = range(1, len(self.steps))
        return [Message(self.saga, self.epoch, self.order, self.compensating, self.steps[start:]) for start in starts]

    def failed(self) -> "Message":
        return Message(self.saga, self.epoch, self.order, self.compensating, self.steps, errback=True)

    def arguments(self) -> dict[str, int | str]:
        return {"saga": self.saga, "epoch": self.epoch, "order": self.order}

    def __str__(self) -> str:
        return f"{self.task} e{self.epoch}"


class Broker:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, what: Launch) -> None:
        """In place of ``fulfillment.tasks.publish``."""
        self.put(Message(what.saga, what.epoch, what.order, what.compensating, what.steps))

    def put(self, message: Message | None) -> None:
        if message is not None:
            self.messages.append(message)

    def take(self, at: int) -> Message:
        return self.messages.pop(at)
