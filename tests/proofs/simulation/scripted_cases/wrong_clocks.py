"""The database's clock is set while somebody counts on it."""

from functools import partial

from tests.proofs.simulation.history import History
from tests.proofs.simulation.scripted_cases.until import deliver_all, go_until, run_out

HOUR_S = 3600.0


def set_forward_under_a_worker(history: History) -> None:
    """A worker stands before its call when the clock is set; by that clock its lease is over, and without keys a second one would charge again."""
    first = go_until(history, "payment", "before_call")
    history.act("clock", partial(history.clocks.set, HOUR_S))
    for _ in range(3):
        history.act("sweep", history.sweeps.sweep)
        if history.broker.messages:
            history.act("deliver", partial(history.deliveries.deliver, history.workers[1]))
            run_out(history, history.workers[1])
    run_out(history, first)
    deliver_all(history)


def set_forward_while_it_waits(history: History) -> None:
    """By that clock the deadline of its step is over."""
    history.next_fault = "unavailable"
    deliver_all(history)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    for _ in range(2):
        history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def set_forward_while_a_charge_is_in_the_air(history: History) -> None:
    """Nothing is found, and by that clock nothing can land any more; no sweep has looked yet."""
    history.next_fault = "air"
    deliver_all(history)
    history.act("sweep", history.sweeps.sweep)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    deliver_all(history)
    if history.provider.air:
        history.act("late", history.outside.late)


def set_forward_before_a_process_that_has_just_begun(history: History) -> None:
    """As before; the next try comes to a process that has just begun. It goes by the sweep's heartbeat, which was written before the clock was set."""
    history.act("long wait", partial(history.sweeps.long_wait, 1000.0))
    history.next_fault = "air"
    deliver_all(history)
    history.act("sweep", history.sweeps.sweep)
    history.begin_a_process()
    history.act("clock", partial(history.clocks.set, HOUR_S))
    deliver_all(history)
    if history.provider.air:
        history.act("late", history.outside.late)


def set_forward_while_nobody_sweeps(history: History) -> None:
    """Nobody has seen it, and by that clock the deadline is over."""
    history.next_fault = "unavailable"
    deliver_all(history)
    history.act("no sweep", history.clocks.sweep_ends)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    history.act("a sweep begins", history.clocks.sweep_begins)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def set_forward_under_a_try_while_nobody_sweeps(history: History) -> None:
    """As before; but a worker is in the middle of its call, and records by the new clock, so that nothing looks late."""
    history.next_fault = "unavailable"
    worker = go_until(history, "payment", "before_call")
    history.act("no sweep", history.clocks.sweep_ends)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    run_out(history, worker)
    history.act("a sweep begins", history.clocks.sweep_begins)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)
