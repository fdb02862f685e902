"""The magic values: test cards and postal codes, and the fault that each of them scripts."""

from dataclasses import dataclass
from enum import Enum

from fulfillment.sandbox.answers import Refusal


class Fault(Enum):
    """What becomes of one try."""

    ERROR = "answers 503, nothing was done"
    LOST = "never answers, nothing was done"
    MUTE = "never answers, but it was done"


@dataclass(frozen=True)
class Script:
    """How a provider behaves towards one value. ``faults[n]`` meets try n + 1 under a key; after the last, tries work.

    ``delay_s``: seconds before the effect, at time scale 1. ``undo_faults``: the same for the tries to refund or cancel.
    """

    decline: str | None = None
    delay_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    undo_faults: tuple[Fault, ...] = ()


PLAIN = Script()

TOKENS = {
    "tok_ok": PLAIN,
    "tok_declined": Script(decline="card_declined"),
    "tok_slow_8s": Script(delay_s=8.0),
    "tok_timeout_charged": Script(faults=(Fault.MUTE,)),
    "tok_timeout_not_charged": Script(faults=(Fault.LOST,)),
    "tok_flaky_2": Script(faults=(Fault.ERROR, Fault.ERROR)),
    "tok_refund_flaky_2": Script(undo_faults=(Fault.ERROR, Fault.ERROR)),
}
POSTAL_CODES = {
    "00408": Script(faults=(Fault.MUTE,)),
    "00422": Script(decline="address_refused"),
}

DECLINES = {
    "card_declined": (402, "The card was declined."),
    "unknown_token": (402, "No card is known under this token."),
    "cancelled_by_key": (402, "This key was cancelled: nothing will be done under it any more."),
    "address_refused": (400, "The carrier does not deliver to this address."),
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
