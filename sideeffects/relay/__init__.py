"""The relay: who is owed which fact, and which delivery is due. It says what is to be published, and publishes nothing itself."""

from sideeffects.relay.dispatch import (
    BATCH,
    BEAT_EVERY_S,
    Marks,
    Message,
    _take,
    age_s,
    beat,
    due,
    look_after_circuits,
    move_with_the_clock,
    not_begun,
    not_published,
    owe,
    register,
    waiting,
    waits_since,
)

__all__ = [
    "BATCH",
    "BEAT_EVERY_S",
    "Marks",
    "Message",
    "_take",
    "age_s",
    "beat",
    "due",
    "look_after_circuits",
    "move_with_the_clock",
    "not_begun",
    "not_published",
    "owe",
    "register",
    "waiting",
    "waits_since",
]
