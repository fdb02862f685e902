"""What the sandbox answers: a success, or a problem with a stable code."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A status and a JSON body. ``replayed``: remembered under the key. ``silent``: the effect took place, and no answer is sent."""

    status: int
    body: dict[str, Any]
    replayed: bool = False
    silent: bool = False


class Problem(Exception):
    """Anything but success; nothing was done. Not remembered: the same key may come again, with another body too."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message} | ({"field": field} if field else {})

    def answer(self) -> Answer:
        return Answer(self.status, {"error": self.error})


class Refusal(Problem):
    """A business decision, final: remembered under the key, so that the same key and body get the same answer."""
