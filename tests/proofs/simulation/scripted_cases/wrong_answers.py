"""Providers that take, or give back, another amount, and support, which refunds at the provider's own pages."""

from functools import partial

from tests.proofs.simulation.history import History
from tests.proofs.simulation.scripted_cases.until import deliver_all, go_until, run_out


def a_charge_of_another_amount(history: History) -> None:
    """The bank takes less, or more, than it was asked for."""
    history.oddities.next = "other amount"
    deliver_all(history)


def a_refund_of_a_part(history: History) -> None:
    """The order is paid and cancelled, and the bank gives back a third of it."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.people.cancel)
    history.oddities.next = "a part"
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def a_blind_refund_of_a_part(history: History) -> None:
    """As before, and nobody has heard of the charge."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("cancel", history.people.cancel)
    history.oddities.next = "a part"
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def refunded_by_support_before_it_is_asked_for_again(history: History) -> None:
    """The answer to a charge is lost, and support gives it back: asked for again under its key, the bank says once more that it has taken the money."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("support", history.outside.support_refunds)
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def refunded_by_support_before_a_person_says_that_it_happened(history: History) -> None:
    """As before; and somebody believes the bank's old mail."""
    history.next_fault = "lost"
    deliver_all(history)
    history.act("support", history.outside.support_refunds)
    history.act("operator", partial(history.people.decides, "it_happened"))
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)


def refunded_in_part_by_support_before_its_compensation(history: History) -> None:
    """The order is cancelled, and support has given back a part by then."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.people.cancel)
    history.act("sweep", history.sweeps.sweep)
    history.act("support", history.outside.support_refunds)
    deliver_all(history)
