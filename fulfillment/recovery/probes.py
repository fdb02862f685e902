"""The core's probes: of its queues ``saga`` and ``undo``, wanted and sent by the sweep."""

from orders.probes import Probes, probe_came_out, probe_not_sent, unanswered_for_s

__all__ = ["probe_came_out", "probe_not_sent", "probes_due", "proves_lost", "unanswered_for_s"]

_of_the_sweep = Probes()
proves_lost, probes_due = _of_the_sweep.proves_lost, _of_the_sweep.due
