"""The relay of the transactional outbox: it decides which subscriber is owed which fact, and publishes the deliveries that are due.

``rounds`` is one round of it, ``fan_out`` writes who is owed which fact, ``dispatch`` takes what is due. ``subscriber_registration`` records who subscribes.
"""

from sideeffects.relay.backlog import not_begun, waiting
from sideeffects.relay.clock_jump import move_with_the_clock
from sideeffects.relay.dispatch import due, inspect_circuits, not_published, waits_since
from sideeffects.relay.fan_out import owe
from sideeffects.relay.heartbeat import HEARTBEAT_EVERY_S, age_s, record_heartbeat
from sideeffects.relay.marks import Marks
from sideeffects.relay.rounds import LAUNCHES_A_ROUND, after_loss, anything_due, run_round
from sideeffects.relay.subscriber_registration import register

__all__ = [
    "HEARTBEAT_EVERY_S",
    "LAUNCHES_A_ROUND",
    "Marks",
    "after_loss",
    "age_s",
    "anything_due",
    "due",
    "inspect_circuits",
    "move_with_the_clock",
    "not_begun",
    "not_published",
    "owe",
    "record_heartbeat",
    "register",
    "run_round",
    "waiting",
    "waits_since",
]
