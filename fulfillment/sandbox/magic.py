"""The magic values: test cards and postal codes, and the fault that each of them scripts."""

from dataclasses import dataclass
from enum import Enum

from fulfillment.sandbox.answers import Refusal

LATE_S = 25.0  # after any caller's deadline and its first retry, at time scale 1


class Fault(Enum):
    """What becomes of one try."""

    ERROR = "answers 503, nothing was done"
    LOST = "never answers, nothing was done"
    MUTE = "never answers, but it was done"
    LATE = "never answers, and it is done after LATE_S, if its key is still free by then"
    DECLINED = "declined"


SILENT = (Fault.MUTE, Fault.LATE)


@dataclass(frozen=True, kw_only=True)
class Script:
    """How a provider behaves towards one value. ``faults[n]`` meets try n + 1 under a key, ``then`` all later ones; None works.

    Where later tries are LOST, a remembered answer never arrives either. ``delay_s``: seconds before the effect, at time scale 1.
    ``overtakes``: a try does not wait for one that is still running under its key. ``compensation``: the same for refunding or cancelling.
    ``declined_as``: the code of a try that is DECLINED.
    ``takes_minor``, ``takes_in``: what is taken instead of what was asked for, and in which currency; of a refund: what the first one gives back.
    """

    decline: str | None = None
    declined_as: str = "card_declined"
    delay_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    then: Fault | None = None
    overtakes: bool = False
    takes_minor: int | None = None
    takes_in: str | None = None
    compensation: "Script | None" = None

    def of_compensation(self) -> "Script":
        return self.compensation or PLAIN


PLAIN = Script()
HANDED_OVER = Script(decline="handed_over")

TOKENS = {
    "tok_ok": PLAIN,
    "tok_declined": Script(decline="card_declined"),
    "tok_slow_8s": Script(delay_s=8.0),
    "tok_slow_90s": Script(delay_s=90.0),
    "tok_timeout_charged": Script(faults=(Fault.MUTE,)),
    "tok_timeout_not_charged": Script(faults=(Fault.LOST,)),
    "tok_flaky_2": Script(faults=(Fault.ERROR, Fault.ERROR)),
    "tok_lands_late": Script(faults=(Fault.LATE,)),
    "tok_late_then_declined": Script(faults=(Fault.LATE,), then=Fault.DECLINED, overtakes=True),
    "tok_never_answers": Script(then=Fault.LOST),
    "tok_charged_never_answers": Script(faults=(Fault.MUTE,), then=Fault.LOST),
    "tok_takes_1": Script(takes_minor=1),
    "tok_takes_nothing": Script(takes_minor=0),
    "tok_takes_idr": Script(takes_in="IDR"),
    "tok_refunds_1_first": Script(compensation=Script(takes_minor=1)),
    "tok_refund_flaky_2": Script(compensation=Script(faults=(Fault.ERROR, Fault.ERROR))),
    "tok_refund_always_fails": Script(compensation=Script(then=Fault.ERROR)),
    "tok_refund_declined": Script(compensation=Script(decline="refund_declined")),
    "tok_refund_declined_once": Script(compensation=Script(faults=(Fault.DECLINED,), declined_as="refund_declined")),
}
POSTAL_CODES = {
    "00408": Script(faults=(Fault.MUTE,)),
    "00409": Script(faults=(Fault.MUTE,), then=Fault.LOST, compensation=HANDED_OVER),
    "00410": Script(compensation=HANDED_OVER),
    "00422": Script(decline="address_refused"),
    "00503": Script(then=Fault.ERROR),
}

DECLINES = {
    "card_declined": (402, "The card was declined."),
    "unknown_token": (402, "No card is known under this token."),
    "cancelled_by_key": (402, "This key was cancelled: nothing will be done under it any more."),
    "refund_declined": (402, "This charge cannot be refunded."),
    "address_refused": (400, "The carrier does not deliver to this address."),
    "handed_over": (400, "The parcel has left: its label cannot be cancelled any more."),
    "test_value_refused": (400, "Test values are refused here: start the sandbox with demo values."),
}


def declined(code: str) -> Refusal:
    """The definite no that belongs to ``code``."""
    status, message = DECLINES[code]
    return Refusal(status, code, message)


def script_of_token(token: str, demo_values: bool) -> Script:
    """Every token is a test value here, so one that is not in the table is unknown."""
    return _allowed(TOKENS.get(token, Script(decline="unknown_token")), token in TOKENS, demo_values)


def script_of_postal_code(postal_code: str, demo_values: bool) -> Script:
    """Every postal code that is not in the table is an ordinary one."""
    return _allowed(POSTAL_CODES.get(postal_code, PLAIN), postal_code in POSTAL_CODES, demo_values)


def _allowed(script: Script, is_test_value: bool, demo_values: bool) -> Script:
    return Script(decline="test_value_refused") if is_test_value and not demo_values else script
