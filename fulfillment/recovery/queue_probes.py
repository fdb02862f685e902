"""Queue probes: a stamp that has come out of a queue proves that an older message is lost and not merely waiting. Of the core's queues, sent by the sweep."""

from orders.queue_probes import Probes

QUEUES = ("saga", "compensation")

probes = Probes()
