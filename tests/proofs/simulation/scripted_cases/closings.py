"""Orders that a person closes as they are."""

from functools import partial

from tests.proofs.simulation.history import History
from tests.proofs.simulation.invariants import TOTAL_MINOR
from tests.proofs.simulation.scripted_cases.until import deliver_all, go_until, run_out


def closed_with_what_the_bank_keeps(history: History) -> None:
    """The order is paid and cancelled, and the refund is refused for good: two persons write it off."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.act("cancel", history.people.cancel)
    history.next_fault = "refused"
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)
    history.act("operator", partial(history.people.decides, "close", amount_minor=TOTAL_MINOR))


def closed_with_a_parcel_that_has_left(history: History) -> None:
    """The booking was never answered, the order is cancelled, and the carrier refuses to cancel its label: nothing before it may be compensated."""
    run_out(history, go_until(history, "payment", "after_call"))
    history.next_fault = "lost"
    deliver_all(history)
    history.act("cancel", history.people.cancel)
    history.next_fault = "refused"
    history.act("sweep", history.sweeps.sweep)
    deliver_all(history)
    history.act("operator", partial(history.people.decides, "close", amount_minor=TOTAL_MINOR))
