"""What a kind of bus can do."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orders.facts import Fact


@dataclass(frozen=True)
class Received:
    """An event as a program outside gets it. ``number``: its position in the order of all events."""

    number: int
    envelope: dict[str, Any]


class Bus(Protocol):
    """Each method is bounded in time, and raises BusTrouble."""

    def newest(self) -> int | None:
        """The number of the newest event that it has got, as it says itself. None: it does not remember that."""

    def publish(self, facts: Sequence[Fact]) -> None:
        """Send them, in this order, and wait until all are taken. One that it has already does no harm."""

    def forget(self) -> None:
        """Drop what it keeps, so that events can be sent again from the beginning."""

    def receive(self, pattern: str, after: int | None, queue: str) -> Iterator[Received | None]:
        """What arrives, for ever; None each time when nothing has come for a second. ``after``: begin behind this number; None: with what comes from now on.

        ``queue``: where it keeps what its reader has not got, if it keeps that for each reader.
        """

    def close(self) -> None:
        """End the connection. It is opened anew when it is needed."""


def matches(pattern: str, event_type: str) -> bool:
    """Whether a type is meant by a pattern of AMQP: words with dots between them, ``*`` for one word, ``#`` for any number of words."""
    words = [{"*": r"[^.]+", "#": r".*"}.get(word, re.escape(word)) for word in pattern.split(".")]
    return re.fullmatch(r"\.".join(words).replace(r".*\.", r"(?:.*\.)?").replace(r"\..*", r"(?:\..*)?"), event_type) is not None
