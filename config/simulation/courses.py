"""Courses: histories that are known to hurt, told step by step. Most were found by the model, as the shortest way to a breach of a broken rule."""

from functools import partial

from config.simulation.history import Course, History
from config.simulation.judge import TOTAL_MINOR
from config.simulation.threads import WorkerThread
from config.simulation.world import GATEWAY
from fulfillment import circuit as circuits
from fulfillment.models import SagaState

CARRIER = circuits.name_of("carrier", GATEWAY, undo=False)


def go_until(history: History, task: str, boundary: str) -> WorkerThread:
    """Messages are delivered and workers go on, those that stand still on purpose excepted, until one stands there in this task."""
    standing = [worker for worker in history.workers if not worker.is_idle]
    for _ in range(60):
        for worker in history.workers:
            if worker in standing:
                continue
            if worker.at == boundary and history.carried[worker].task == task:
                return worker
            if not worker.is_idle:
                history.act("go on", partial(history.go_on, worker))
            elif history.broker.messages:
                history.act("deliver", partial(history.deliver, worker))
    raise LookupError(f"{task} never stood {boundary}")


def run_out(history: History, worker: WorkerThread) -> None:
    """This worker goes on to the end of its task."""
    while not worker.is_idle and not history.verdict.breach:
        history.act("go on", partial(history.go_on, worker))


def deliver_all(history: History) -> None:
    """Nobody stands still, and nothing is left in the queues."""
    for _ in range(60):
        busy = next((worker for worker in history.workers if not worker.is_idle), None)
        if busy is not None:
            history.act("go on", partial(history.go_on, busy))
        elif history.broker.messages:
            history.act("deliver", partial(history.deliver, history.workers[0]))
        else:
            return


def late_settle_after_a_lost_turn_back(history: History) -> None:
    """A worker stands before the settle of a booking; the order is cancelled and turned back, the label cancelled; the database crashes; the worker settles."""
    first = go_until(history, "shipping", "after_call")
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    go_until(history, "undo_shipping", "after_call")
    if history.past:
        history.act("crash", history.database_crash)
    run_out(history, first)


def landing_after_a_blind_undo(history: History) -> None:
    """A charge is in the air when the order is cancelled and turned back; it lands when the undo is over."""
    history.next_fault = "air"
    deliver_all(history)
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    deliver_all(history)
    if history.provider.air:
        history.act("late", history.late)


def unavailable_after_a_charge(history: History) -> None:
    """A worker that has charged is taken over; the next try finds the provider down; the order is cancelled."""
    first = go_until(history, "payment", "after_call")
    history.act("sweep", history.sweep)
    history.next_fault = "unavailable"
    second = go_until(history, "payment", "before_call")
    run_out(history, second)
    history.act("kill", partial(history.kill, first))
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    deliver_all(history)


def cancelled_before_an_open_circuit(history: History) -> None:
    """The carrier has been out for a while when the parcel is due, so its grant is withdrawn; the customer cancels, and nothing of it is undone."""
    history.act("outage", partial(history.outage, CARRIER))
    history.act("long wait", history.long_wait)
    deliver_all(history)
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    deliver_all(history)


def probe_that_is_lost_with_the_database(history: History) -> None:
    """As before; then the order is sent ahead as the probe, books, and the database crashes; it is held again, and cancelled."""
    history.act("outage", partial(history.outage, CARRIER))
    history.act("long wait", history.long_wait)
    deliver_all(history)
    history.act("probe", history.look_after_circuits)
    probe = go_until(history, "shipping", "after_call")
    if history.past:
        history.act("crash", history.database_crash)
    history.act("kill", partial(history.kill, probe))
    history.act("sweep", history.sweep)
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    deliver_all(history)


def started_and_lost_before_an_open_circuit(history: History) -> None:
    """A charge is made, its start is lost with the database; then the bank is out, and the customer cancels."""
    first = go_until(history, "payment", "after_call")
    if history.past:
        history.act("crash", history.database_crash)
    history.act("kill", partial(history.kill, first))
    history.act("outage", partial(history.outage, circuits.name_of("payments", GATEWAY, False)))
    for _ in range(3):  # the first ones find that its message may still wait in its queue
        history.act("sweep", history.sweep)
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    deliver_all(history)


def taken_over_after_the_key_is_forgotten(history: History) -> None:
    """A charge is made, and nobody of ours is there for longer than the provider remembers its key."""
    first = go_until(history, "payment", "after_call")
    history.act("long wait", partial(history.long_wait, 90_000.0))
    history.act("sweep", history.sweep)
    second = go_until(history, "payment", "after_call")
    run_out(history, second)
    run_out(history, first)
    deliver_all(history)


def killed_when_its_order_is_fulfilled(history: History) -> None:
    """The worker dies right after the commit that fulfils the order."""
    for _ in range(60):
        busy = next((worker for worker in history.workers if not worker.is_idle), None)
        if busy is not None and history.seen.state == SagaState.COMPLETED:
            history.act("kill", partial(history.kill, busy))
            break
        if busy is not None:
            history.act("go on", partial(history.go_on, busy))
        else:
            history.act("deliver", partial(history.deliver, history.workers[0]))
    deliver_all(history)


# --- wrong answers, and support ---------------------------------------------------------------------------------------------


def a_charge_of_another_amount(history: History) -> None:
    """The bank takes less, or more, than it was asked for."""
    history.oddities.next = "other amount"
    deliver_all(history)


def a_refund_of_a_part(history: History) -> None:
    """The order is paid and cancelled, and the bank gives back a third of it."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.cancel)
    history.oddities.next = "a part"
    history.act("sweep", history.sweep)
    deliver_all(history)


def a_blind_refund_of_a_part(history: History) -> None:
    """As before, and nobody has heard of the charge."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("cancel", history.cancel)
    history.oddities.next = "a part"
    history.act("sweep", history.sweep)
    deliver_all(history)


def refunded_by_support_before_it_is_asked_for_again(history: History) -> None:
    """The answer to a charge is lost, and support gives it back: asked for again under its key, the bank says once more that it has taken the money."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("support", history.support_refunds)
    history.act("sweep", history.sweep)
    deliver_all(history)


def refunded_by_support_before_a_person_says_that_it_happened(history: History) -> None:
    """As before; and somebody believes the bank's old mail."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("support", history.support_refunds)
    history.act("operator", partial(history.decides, "it_happened"))
    history.act("sweep", history.sweep)
    deliver_all(history)


def refunded_in_part_by_support_before_its_undo(history: History) -> None:
    """The order is cancelled, and support has given back a part by then."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.cancel)
    history.act("sweep", history.sweep)
    history.act("support", history.support_refunds)
    deliver_all(history)


# --- refusals ---------------------------------------------------------------------------------------------------------------


def _cancelled_when_paid(history: History) -> None:
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.cancel)


def _swept_at_once(history: History, fault: str = "") -> None:
    """Before anything in the air has landed."""
    history.next_fault = fault
    history.act("sweep", partial(history.sweep, 0.0))
    deliver_all(history)


def a_refused_refund_is_tried_again(history: History) -> None:
    """The bank keeps its refusals; a person lets it be asked once more."""
    _cancelled_when_paid(history)
    _swept_at_once(history, "refused")
    history.act("operator", partial(history.decides, "retry"))
    _swept_at_once(history)


def a_refused_refund_lands_after_all(history: History) -> None:
    """A refund is in the air, and asked for again it is refused; a person lets it be tried once more. The bank gives back twice whoever asks it twice."""
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    _swept_at_once(history, "air")
    _swept_at_once(history, "refused")
    history.act("operator", partial(history.decides, "retry"))
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.late)


def a_part_is_given_back_and_then_the_refund_is_refused(history: History) -> None:
    """Support gives back a part before the refund is asked for, the bank refuses the refund and keeps its refusal; a person lets it be asked once more."""
    _cancelled_when_paid(history)
    history.act("sweep", partial(history.sweep, 0.0))
    history.act("support", partial(history.support_refunds, 40))
    history.next_fault = "refused"
    deliver_all(history)
    history.act("operator", partial(history.decides, "retry"))
    _swept_at_once(history)


def a_refund_in_doubt_is_unavailable_and_then_refused(history: History) -> None:
    """A refund is in the air; then the bank is down, then it refuses; a person lets it be tried once more, and the first one lands. The bank gives back twice
    whoever asks it twice.
    """
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    for fault in ("air", "unavailable", "refused"):
        _swept_at_once(history, fault)
    history.act("operator", partial(history.decides, "retry"))
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.late)


def a_refund_in_the_air_without_keys(history: History) -> None:
    """A refund is in the air, and asked for again it would be another one."""
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    _swept_at_once(history, "air")
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.late)


# --- what a person closes ---------------------------------------------------------------------------------------------------


def closed_with_what_the_bank_keeps(history: History) -> None:
    """The order is paid and cancelled, and the refund is refused for good: two persons write it off."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.cancel)
    history.next_fault = "refused"
    history.act("sweep", history.sweep)
    deliver_all(history)
    history.act("operator", partial(history.decides, "close", amount_minor=TOTAL_MINOR))


def closed_with_a_parcel_that_has_left(history: History) -> None:
    """The booking was never answered, the order is cancelled, and the carrier refuses to cancel its label: nothing before it may be undone."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.next_fault = "lost"
    deliver_all(history)
    history.act("cancel", history.cancel)
    history.next_fault = "refused"
    history.act("sweep", history.sweep)
    deliver_all(history)
    history.act("operator", partial(history.decides, "close", amount_minor=TOTAL_MINOR))


# --- wrong clocks ----------------------------------------------------------------------------------------------------------

HOUR_S = 3600.0


def set_forward_under_a_worker(history: History) -> None:
    """A worker stands before its call when the clock is set; by that clock its lease is over, and without keys a second one would charge again."""
    first = go_until(history, "payment", "before_call")
    history.act("clock", partial(history.clocks.set, HOUR_S))
    for _ in range(3):
        history.act("sweep", history.sweep)
        if history.broker.messages:
            history.act("deliver", partial(history.deliver, history.workers[1]))
            run_out(history, history.workers[1])
    run_out(history, first)
    deliver_all(history)


def set_forward_while_it_waits(history: History) -> None:
    """By that clock the deadline of its step is over."""
    history.next_fault = "unavailable"
    deliver_all(history)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    for _ in range(2):
        history.act("sweep", history.sweep)
    deliver_all(history)


def set_forward_while_a_charge_is_in_the_air(history: History) -> None:
    """Nothing is found, and by that clock nothing can land any more; no sweep has looked yet."""
    history.next_fault = "air"
    deliver_all(history)
    history.act("sweep", history.sweep)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    deliver_all(history)
    if history.provider.air:
        history.act("late", history.late)


def set_forward_while_nobody_sweeps(history: History) -> None:
    """Nobody has seen it, and by that clock the deadline is over."""
    history.next_fault = "unavailable"
    deliver_all(history)
    history.act("no sweep", history.clocks.sweep_ends)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    history.act("a sweep begins", history.clocks.sweep_begins)
    history.act("sweep", history.sweep)
    deliver_all(history)


def set_forward_under_a_try_while_nobody_sweeps(history: History) -> None:
    """As before; but a worker is in the middle of its call, and settles by the new clock, so that nothing looks late."""
    history.next_fault = "unavailable"
    worker = go_until(history, "payment", "before_call")
    history.act("no sweep", history.clocks.sweep_ends)
    history.act("clock", partial(history.clocks.set, HOUR_S))
    run_out(history, worker)
    history.act("a sweep begins", history.clocks.sweep_begins)
    history.act("sweep", history.sweep)
    deliver_all(history)


COURSES = {
    "late settle after a lost turn back": Course("tombstone", late_settle_after_a_lost_turn_back),
    "landing after a blind undo": Course("tombstone", landing_after_a_blind_undo),
    "unavailable after a charge": Course("tombstone", unavailable_after_a_charge),
    "cancelled before an open circuit": Course("tombstone", cancelled_before_an_open_circuit),
    "probe that is lost with the database": Course("tombstone", probe_that_is_lost_with_the_database),
    "started and lost before an open circuit": Course("tombstone", started_and_lost_before_an_open_circuit),
    "taken over after the key is forgotten": Course("tombstone", taken_over_after_the_key_is_forgotten),
    "killed when its order is fulfilled": Course("tombstone", killed_when_its_order_is_fulfilled),
    "a charge of another amount": Course("tombstone", a_charge_of_another_amount),
    "a refund of a part": Course("tombstone", a_refund_of_a_part),
    "a blind refund of a part": Course("burn", a_blind_refund_of_a_part),
    "refunded by support before it is asked for again": Course("tombstone", refunded_by_support_before_it_is_asked_for_again),
    "refunded by support before a person says that it happened": Course(
        "tombstone", refunded_by_support_before_a_person_says_that_it_happened
    ),
    "refunded in part by support before its undo": Course("tombstone", refunded_in_part_by_support_before_its_undo),
    "a refused refund is tried again": Course("tombstone", a_refused_refund_is_tried_again),
    "a refused refund lands after all": Course("watch", a_refused_refund_lands_after_all),
    "a part is given back, and then the refund is refused": Course("burn", a_part_is_given_back_and_then_the_refund_is_refused),
    "a refund in doubt is unavailable, and then refused": Course("forgetful", a_refund_in_doubt_is_unavailable_and_then_refused),
    "a refund in the air without keys": Course("keyless", a_refund_in_the_air_without_keys),
    "closed with what the bank keeps": Course("tombstone", closed_with_what_the_bank_keeps),
    "closed with a parcel that has left": Course("tombstone", closed_with_a_parcel_that_has_left),
    "set forward under a worker": Course("keyless", set_forward_under_a_worker),
    "set forward while it waits": Course("tombstone", set_forward_while_it_waits),
    "set forward while a charge is in the air": Course("keyless", set_forward_while_a_charge_is_in_the_air),
    "set forward while nobody sweeps": Course("tombstone", set_forward_while_nobody_sweeps),
    "set forward under a try while nobody sweeps": Course("tombstone", set_forward_under_a_try_while_nobody_sweeps),
}
