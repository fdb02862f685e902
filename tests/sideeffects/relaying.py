"""What is due, and how it comes to be."""

from typing import Any

from sideeffects import registry, relay
from sideeffects.outbox import Failure
from sideeffects.relay import Message


def lost(subscriber: str, tries: int) -> Failure:
    return Failure(code="worker_lost", message=f"lost in try {tries}", retry_in_s=None if tries > 3 else 1.0)


def due(before: Any = None) -> list[Message]:
    return relay.due(registry.names(), before, lost)
