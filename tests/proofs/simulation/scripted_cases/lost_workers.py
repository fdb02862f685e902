"""Workers and commits that are lost, in front of open circuits too."""

from functools import partial

from fulfillment import circuit as circuits
from fulfillment.models import SagaState
from tests.proofs.simulation.history import History
from tests.proofs.simulation.scripted_cases.until import deliver_all, go_until, run_out
from tests.proofs.simulation.world import GATEWAY

CARRIER = circuits.name_of("carrier", GATEWAY, compensating=False)


def late_outcome_after_a_lost_turn_back(history: History) -> None:
    """A worker stands before the outcome of a booking; the order is cancelled and turned back, the label cancelled; the database crashes; the worker records it."""
    first = go_until(history, "shipping", "after_call")
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    go_until(history, "compensate_shipping", "after_call")
    if history.past:
        history.act("crash", history.outside.database_crash)
    run_out(history, first)


def landing_after_a_blind_compensation(history: History) -> None:
    """A charge is in the air when the order is cancelled and turned back; it lands when the compensation is over."""
    history.next_fault = "air"
    deliver_all(history)
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)
    if history.provider.air:
        history.act("late", history.outside.late)


def unavailable_after_a_charge(history: History) -> None:
    """A worker that has charged is taken over; the next try finds the provider down; the order is cancelled."""
    first = go_until(history, "payment", "after_call")
    history.act("sweep", history.sweeps.sweep)
    history.next_fault = "unavailable"
    second = go_until(history, "payment", "before_call")
    run_out(history, second)
    history.act("kill", partial(history.deliveries.kill, first))
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def cancelled_before_an_open_circuit(history: History) -> None:
    """The carrier has been out for a while when the parcel is due, so it is scheduled no longer; the customer cancels, and nothing of it is compensated."""
    history.act("outage", partial(history.outside.outage, CARRIER))
    history.act("long wait", history.sweeps.long_wait)
    deliver_all(history)
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def probe_that_is_lost_with_the_database(history: History) -> None:
    """As before; then the order is sent ahead as the probe, books, and the database crashes; it is held again, and cancelled."""
    history.act("outage", partial(history.outside.outage, CARRIER))
    history.act("long wait", history.sweeps.long_wait)
    deliver_all(history)
    history.act("probe", history.sweeps.inspect_circuits)
    probe = go_until(history, "shipping", "after_call")
    if history.past:
        history.act("crash", history.outside.database_crash)
    history.act("kill", partial(history.deliveries.kill, probe))
    history.act("sweep", history.sweeps.sweep)
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def started_and_lost_before_an_open_circuit(history: History) -> None:
    """A charge is made, its start is lost with the database; then the bank is out, and the customer cancels."""
    first = go_until(history, "payment", "after_call")
    if history.past:
        history.act("crash", history.outside.database_crash)
    history.act("kill", partial(history.deliveries.kill, first))
    history.act("outage", partial(history.outside.outage, circuits.name_of("payments", GATEWAY, False)))
    for _ in range(3):  # the first ones find that its message may still wait in its queue
        history.act("sweep", history.sweeps.sweep)
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def taken_over_after_the_key_is_forgotten(history: History) -> None:
    """A charge is made, and nobody of ours is there for longer than the provider remembers its key."""
    first = go_until(history, "payment", "after_call")
    history.act("long wait", partial(history.sweeps.long_wait, 90_000.0))
    history.act("sweep", history.sweeps.sweep)
    second = go_until(history, "payment", "after_call")
    run_out(history, second)
    run_out(history, first)
    deliver_all(history)


def killed_when_its_order_is_fulfilled(history: History) -> None:
    """The worker dies right after the commit that fulfils the order."""
    for _ in range(60):
        busy = next((worker for worker in history.workers if not worker.is_idle), None)
        if busy is not None and history.seen.state == SagaState.COMPLETED:
            history.act("kill", partial(history.deliveries.kill, busy))
            break
        if busy is not None:
            history.act("go on", partial(history.deliveries.go_on, busy))
        else:
            history.act("deliver", partial(history.deliveries.deliver, history.workers[0]))
    deliver_all(history)
