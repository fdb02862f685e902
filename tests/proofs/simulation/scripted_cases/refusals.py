"""Refunds that are refused, and what lands after that."""

from functools import partial

from tests.proofs.simulation.history import History
from tests.proofs.simulation.scripted_cases.until import deliver_all, go_until, run_out


def _cancelled_when_paid(history: History) -> None:
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.people.cancel)


def _swept_at_once(history: History, fault: str = "") -> None:
    """Before anything in the air has landed."""
    history.next_fault = fault
    history.act("sweep", partial(history.sweeps.sweep, 0.0))
    deliver_all(history)


def a_refused_refund_is_tried_again(history: History) -> None:
    """The bank keeps its refusals; a person lets it be asked once more."""
    _cancelled_when_paid(history)
    _swept_at_once(history, "refused")
    history.act("operator", partial(history.people.decides, "retry"))
    _swept_at_once(history)


def a_refused_refund_lands_after_all(history: History) -> None:
    """A refund is in the air, and asked for again it is refused; a person lets it be tried once more. The bank gives back twice whoever asks it twice."""
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    _swept_at_once(history, "air")
    _swept_at_once(history, "refused")
    history.act("operator", partial(history.people.decides, "retry"))
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.outside.late)


def a_part_is_given_back_and_then_the_refund_is_refused(history: History) -> None:
    """Support gives back a part before the refund is asked for, the bank refuses the refund and keeps its refusal; a person lets it be asked once more."""
    _cancelled_when_paid(history)
    history.act("sweep", partial(history.sweeps.sweep, 0.0))
    history.act("support", partial(history.outside.support_refunds, 40))
    history.next_fault = "refused"
    deliver_all(history)
    history.act("operator", partial(history.people.decides, "retry"))
    _swept_at_once(history)


def a_refund_in_doubt_is_unavailable_and_then_refused(history: History) -> None:
    """A refund is in the air; then the bank is down, then it refuses; a person lets it be tried once more, and the first one lands. The bank gives back twice
    whoever asks it twice.
    """
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    for fault in ("air", "unavailable", "refused"):
        _swept_at_once(history, fault)
    history.act("operator", partial(history.people.decides, "retry"))
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.outside.late)


def a_refund_in_the_air_without_keys(history: History) -> None:
    """A refund is in the air, and asked for again it would be another one."""
    history.oddities.gives_back_twice = True
    _cancelled_when_paid(history)
    _swept_at_once(history, "air")
    _swept_at_once(history)
    if history.provider.air:
        history.act("late", history.outside.late)
