"""The bus: every event of the shop, for programs outside of it. Each is sent after its commit, in the order of its number, at least once.

``publishing`` is one round, ``envelope`` what is sent. ``valkey_stream`` and ``topic_exchange`` are the two kinds of bus. ``lag`` says whether it keeps up.
"""

from django.conf import settings

from sideeffects.bus.errors import BusTrouble
from sideeffects.bus.kind import Bus, Received
from sideeffects.bus.publishing import A_BATCH, ask_again, run_round
from sideeffects.bus.topic_exchange import TopicExchange
from sideeffects.bus.valkey_stream import ValkeyStream

__all__ = ["A_BATCH", "Bus", "BusTrouble", "Received", "ask_again", "connect", "run_round"]


def connect() -> Bus:
    """The bus of BUS_URL. It is not asked for anything yet."""
    kind = TopicExchange if settings.BUS_URL.startswith("amqp") else ValkeyStream
    return kind(settings.BUS_URL, settings.BUS_NAME, settings.BUS_KEEPS)
