"""Queue probes: a stamp that has come out of a queue proves that an older message is lost and not merely waiting. Of the core's queues, sent by the sweep."""

from django.conf import settings

from orders.queue_probes import Probes, lost_before, probe_came_out, probe_not_sent, unanswered_for_s

__all__ = [
    "QUEUES",
    "lost_before",
    "open_incidents_of_unserved_queues",
    "probe_came_out",
    "probe_not_sent",
    "probes_due",
    "proves_lost",
    "unanswered_for_s",
    "want",
]

QUEUES = ("saga", "compensation")

_of_the_sweep = Probes()
proves_lost, probes_due, want = _of_the_sweep.proves_lost, _of_the_sweep.due, _of_the_sweep.want


def open_incidents_of_unserved_queues() -> None:
    _of_the_sweep.open_incidents_of_unserved(QUEUES, settings.CORE_QUEUE_UNSERVED_LIMIT_S)
