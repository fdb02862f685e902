"""The errors of the core: every call that did not succeed ends in one of these, and each says what is known about the effect."""

from enum import Enum
from typing import Any

from orders.database import OWN_DATABASE as OWN_DATABASE  # of a step or a compensation: no try and no deadline is spent
from orders.text import sanitized

LONGEST_CODE, LONGEST_MESSAGE = 60, 300  # characters: what the journal's columns hold
WATCHING = "watching"  # the code of a compensation that looks for an effect which may still land
LAG = "lag"  # the code of a try that has sent nothing, because an earlier one may still land
WATCHED_IN_VAIN = "watched_in_vain"  # the code of a compensation that looked for an effect until none could land any more, and found none
REVERSED_ELSEWHERE = "reversed_elsewhere"  # the code of a step that took place, and that somebody else has reversed since
OUR_OWN = (WATCHED_IN_VAIN, REVERSED_ELSEWHERE)  # codes of rejections that are our own conclusions: the provider has refused nothing


class CircuitSignal(Enum):
    """What a try says about the provider as a whole, for its circuit breaker.

    ``FAILURE``: it did not answer as one that works does. ``SUCCESS``: it works, and its answer is about this request. ``IGNORED``: nothing; the trouble is ours, or
    it asks us to wait.
    """

    FAILURE, SUCCESS, IGNORED = "failure", "success", "ignored"


class StepError(Exception):
    """A step or its compensation did not succeed. Do not raise this directly.

    ``code``: stable, for machines ("card_declined"). The message is one sentence for people. Both may quote a stranger, so they are cut to what the columns hold.
    ``signal``: what it says about the provider, for its circuit.
    ``retry_after_s``: wait at least so many seconds.
    """

    signal = CircuitSignal.IGNORED

    def __init__(self, message: str, code: str = "", retry_after_s: float = 0.0, *, signal: CircuitSignal | None = None) -> None:
        super().__init__(sanitized(message, LONGEST_MESSAGE))
        self.code = sanitized(code, LONGEST_CODE)
        self.retry_after_s = retry_after_s
        if signal is not None:
            self.signal = signal

    # Exceptions travel between processes. Without this a pickled one would come back without its code.
    def __reduce__(self) -> tuple[type["StepError"], tuple[str, str], dict[str, Any]]:
        return type(self), (str(self), self.code), self.__dict__


class Rejected(StepError):
    """The provider or our stock declined: definitely not done, and asking again under the same key will not change it.

    Has money or stock moved? No.
    What the operator does: nothing; finished steps are compensated by themselves. A rejected compensation needs a decision; tried again, it has a new key.
    """

    signal = CircuitSignal.SUCCESS


class Unavailable(StepError):
    """This try did not happen: the request never left, or was turned away unread. It says nothing about earlier tries.

    Has money or stock moved? Not by this try.
    What the operator does: nothing; it is tried again under the same key. If it lasts, look whether the provider is down.
    """

    signal = CircuitSignal.FAILURE


class Throttled(Unavailable):
    """The provider is up and asks us to come more slowly (429). It spends no try.

    Has money or stock moved? Not by this try.
    What the operator does: nothing; if it lasts, fewer orders at once, or a higher limit at the provider.
    """

    signal = CircuitSignal.IGNORED


class InDoubt(StepError):
    """It may have been done: the request was under way and no answer says what became of it.

    Has money or stock moved? Perhaps.
    What the operator does: nothing; the same key asks again and makes it one effect. Never repeat it by hand.
    """

    signal = CircuitSignal.FAILURE


class Busy(InDoubt):
    """The provider is still working on an earlier request with this key; asking spends no try.

    Has money or stock moved? Perhaps, and it may still move.
    What the operator does: nothing; the answer is fetched under the same key when the provider is done.
    """

    signal = CircuitSignal.IGNORED


class Changed(InDoubt):
    """What is to be given back is not what it was when the compensation was scheduled: part of it has been given back by somebody else.

    Has money or stock moved? Yes, ``given_back_minor`` of it, not by us.
    What the operator does: nothing; the rest is given back under a new key.
    """

    signal = CircuitSignal.SUCCESS

    def __init__(self, message: str, code: str = "", given_back_minor: int = 0) -> None:
        super().__init__(message, code)
        self.given_back_minor = given_back_minor


class Differs(InDoubt):
    """The provider did something, and not what it was asked for: another amount, another currency, or an amount that is none.

    Has money or stock moved? Yes, ``amount_minor`` of it in the order's currency; None: that cannot be said, so it is in no ledger.
    What the operator does: nothing where there is an amount (what was taken is given back, what was not given back is asked for again); else they decide.
    """

    signal = CircuitSignal.SUCCESS

    def __init__(self, message: str, code: str, amount_minor: int | None = None, receipt: dict[str, Any] | None = None) -> None:
        super().__init__(message, code)
        self.amount_minor = amount_minor
        self.receipt = receipt  # of the step: what its compensation needs


class UnknownStep(StepError):
    """The journal names a step that this version of the code does not have: a saga keeps the plan that it was opened with.

    Has money or stock moved? Not by this step; perhaps by the ones before it.
    What the operator does: deploys the version that has the step, then retries; an incident says so.
    """
