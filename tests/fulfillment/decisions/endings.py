"""Each way in which a step or a compensation can end."""

from collections.abc import Callable

from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.answer_checks import OTHER_CURRENCY, PARTLY_GIVEN_BACK
from fulfillment.clock import lease_s
from fulfillment.errors import WATCHED_IN_VAIN, Differs, InDoubt, Rejected, StepError, Unavailable
from fulfillment.gateways.lease import Lease
from fulfillment.provider_call import call_provider
from fulfillment.steps import known
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of, found, paid, parked_forward, refused, start

DOWN = Unavailable("The provider is down.", code="down")
SILENCE = InDoubt("No answer.")
REFUSED = Rejected("The provider refuses.", code="refused")
IN_RUPIAHS = Differs("It was done in another currency.", OTHER_CURRENCY)
OF_40 = Differs("€0.40 of €1.00 was given back.", PARTLY_GIVEN_BACK, 40, {"charge_id": "ch_1", "amount_minor": 100})


def fails(error: StepError, name: str = "payment", compensating: bool = False) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        engine.record_failure(start(saga, name, compensating), error)

    return happens


def charged_without_an_answer(saga: int) -> None:
    claim, payment = start(saga), known("payment")
    assert payment is not None
    assert isinstance(call_provider(payment, claim, Lease.begin(lease_s())), dict)
    engine.record_failure(claim, SILENCE)


def lost_again_and_again(saga: int) -> None:
    parked_forward(saga, settings.POISON_AFTER)


def booking_fails(error: StepError) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        paid(saga)
        engine.run_local(saga, 1, "inventory", compensating=False)
        fails(error, "shipping")(saga)

    return happens


def refund_fails(error: StepError) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        refused(saga)
        fails(error, compensating=True)(saga)

    return happens


def out_of_tries(saga: int, tries: int, name: str, compensating: bool) -> None:
    for _ in range(tries):
        fails(DOWN, name, compensating)(saga)
        now_due(saga)
        recovery.inspect_saga(saga)


def refund_is_out_of_tries(saga: int) -> None:
    refused(saga)
    out_of_tries(saga, settings.COMPENSATION_TRIES, "payment", compensating=True)


def survey_fails(saga: int) -> None:
    """The parcel is on its way, and this step is all that is left to do."""
    fulfilled(saga)
    out_of_tries(saga, settings.STEP_TRIES, "survey", compensating=False)


def money_remains(saga: int) -> None:
    refused(saga)
    engine.record_success(start(saga, compensating=True), None)


def watched_in_vain(saga: int) -> None:
    fails(SILENCE)(saga)
    recovery.cancel(found(saga).order.number, "web-shop")
    now_due(saga)
    recovery.inspect_saga(saga)
    fails(Rejected("Nothing was found.", code=WATCHED_IN_VAIN), compensating=True)(saga)


def held(saga: int) -> None:
    """The bank does not answer others either: three orders have failed, this one among them."""
    for number in ("ORD-2", "ORD-3"):
        fails(DOWN)(copy_of(found(saga).order, number))
    fails(DOWN)(saga)


def fulfilled(saga: int) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    engine.record_success(start(saga, "shipping"), {"label_id": "lb_1", "tracking": "TRK1"})


def compensated(saga: int) -> None:
    fails(REFUSED)(saga)
    assert engine.chain_stopped(saga, 1) is None


ENDS: dict[str, Callable[[int], None]] = {
    "a charge is unavailable": fails(DOWN),
    "a charge is in doubt": charged_without_an_answer,
    "a charge in another currency": fails(IN_RUPIAHS),
    "a message is lost again and again": lost_again_and_again,
    "a booking is in doubt": booking_fails(SILENCE),
    "an open circuit": held,
    "a refund is unavailable": refund_fails(DOWN),
    "a refund is in doubt": refund_fails(SILENCE),
    "a refund is refused": refund_fails(REFUSED),
    "a refund in another currency": refund_fails(IN_RUPIAHS),
    "a refund of a part": refund_fails(OF_40),
    "a refund that gave nothing back": money_remains,
    "an undo that watched in vain": watched_in_vain,
    "an undo that is out of tries": refund_is_out_of_tries,
    "a step after the pivot that is out of tries": survey_fails,
    "fulfilled": fulfilled,
    "compensated": compensated,
}
