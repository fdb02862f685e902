"""One provider call, as the provider's capabilities allow: it never asks twice for what may have taken place. It writes nothing.

Note: doubt is resolved in this order. While the provider remembers the key, counted from when it was scheduled, the same key asks again. After that, and where the
provider knows no keys, a look-up by key comes first. That nothing is there counts only once the provider's lag is over, by the database's clock and by this
process's own. A saga that turns back in doubt compensates blind: by tombstone, by burning the key, or by watching until nothing can land any more. A look-up that
finds nothing never ends a compensation.

Note: after a refusal. Where refusals are not kept, an attempt that was refused may still land, because an earlier try of it may be on its way. So the next attempt
asks for nothing until lease and lag of all tries before it are over, and until it has looked up what is there.
"""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from fulfillment.answer_checks import PARTLY_GIVEN_BACK, UNUSABLE, as_asked, as_scheduled, storable
from fulfillment.capabilities import Blind, Capabilities
from fulfillment.crashpoints import crash_point
from fulfillment.engine import Claim
from fulfillment.errors import (
    LAG,
    REVERSED_ELSEWHERE,
    WATCHED_IN_VAIN,
    WATCHING,
    Busy,
    Changed,
    CircuitSignal,
    Differs,
    InDoubt,
    Rejected,
    StepError,
)
from fulfillment.gateways import pinned
from fulfillment.gateways.lease import Lease, leased
from fulfillment.step import Compensation, Receipt, Step
from orders.database import is_our_trouble
from orders.models import Order
from orders.money import money
from orders.soft_limit import SoftTimeLimitExceeded, interruptible

log = logging.getLogger(__name__)


def call_provider(step: Step, claim: Claim, lease: Lease) -> Receipt | StepError | None:
    """What the call has achieved, or the error. It runs outside of any transaction, under the lease, with the provider that the saga's plan pins.

    Nothing else in a task may be interrupted by its soft time limit.
    Raises DatabaseError: our own database could not serve it. The call may have been sent.
    """
    try:
        with interruptible(), leased(lease), with_provider_of(claim.role, claim.gateway):
            crash_point("before_call", claim.order, claim.name, compensating=claim.compensating)
            receipt = _compensate(step, claim.placed, claim) if claim.compensating else _do(step, claim.placed, claim)
            crash_point("after_call", claim.order, claim.name, compensating=claim.compensating)
        return storable(receipt)
    except StepError as error:
        return error
    except SoftTimeLimitExceeded:  # the provider has a deadline of its own: what takes so long is slow on our side
        return InDoubt("The time limit ended the provider call", code="time_limit", signal=CircuitSignal.IGNORED)
    except Exception as unknown:  # an error of an unknown class says nothing about what the provider did
        if is_our_trouble(unknown):
            raise
        log.exception("%s of %s: unknown error, in doubt", claim.name, claim.key)
        return InDoubt(f"{type(unknown).__name__} while calling the provider", code="unknown_error", signal=CircuitSignal.IGNORED)


def with_provider_of(role: str, gateway: str) -> AbstractContextManager[None]:
    """In the block, the provider that a plan pins is called. A step without a role may call whatever it wants."""
    return pinned(role, gateway) if role else nullcontext()


# --- forward -------------------------------------------------------------------------------------------------------------


def _do(step: Step, order: Order, claim: Claim) -> Receipt:
    capabilities = claim.capabilities
    _await_what_nobody_sees(claim, capabilities)
    if capabilities is not None and (landed := _landed_after_all(step, order, claim.refused_keys)) is not None:
        return landed
    if capabilities is None or claim.is_once:
        receipt = as_asked(step, order, step.execute(order, claim.key))
        return receipt if capabilities is None or claim.quiet_s is None else _still_there(step, order, claim.key, receipt)
    if (found := step.resolve(order, claim.key)) is not None:
        return whole(step, order, found, step.left(order, claim.key))
    if (quiet_s := claim.seen_to_pass(claim.quiet_s)) is not None and quiet_s <= capabilities.lookup_lag_s:
        raise Busy("The provider shows nothing under this key yet; it may still land", code=LAG)
    return as_asked(step, order, step.execute(order, claim.key))


def _await_what_nobody_sees(claim: Claim, capabilities: Capabilities | None) -> None:
    """Raises Busy: an attempt that was refused, or a try whose start was lost, may still land, so what the provider shows now does not count."""
    lag_s = capabilities.lookup_lag_s if capabilities else 0.0
    _await_silence(claim.seen_to_pass(claim.refused_quiet_s), lag_s, "An attempt that was refused before may still land")
    _await_silence(
        claim.surely_lost_quiet_s, lag_s, "The provider may have forgotten the key, and a try whose start was lost may still land"
    )


def _await_silence(quiet_s: float | None, lag_s: float, why: str) -> None:
    """``quiet_s``: seconds since the last try can have sent anything. None: there was none. Raises Busy, with the time that is left to wait."""
    if quiet_s is not None and quiet_s <= lag_s:
        raise Busy(why, code=LAG, retry_after_s=lag_s - quiet_s)


def _landed_after_all(step: Step, order: Order, refused_keys: Iterable[str]) -> Receipt | None:
    """What is there of attempts that were refused. None: nothing now. Raises Differs, InDoubt: it is not what was asked for."""
    for key in refused_keys:
        found = step.resolve(order, key)
        if found is not None and (left := step.left(order, key)) != 0:
            return whole(step, order, found, left) | {"found_under": key}
    return None


def _still_there(step: Step, order: Order, key: str, receipt: Receipt) -> Receipt:
    """An earlier try has asked before, so the answer may be a remembered one. Only a look-up says what has become of the effect since.

    Within the lag a look-up may show nothing yet. Then the answer counts.
    """
    return receipt if step.resolve(order, key) is None else whole(step, order, receipt, step.left(order, key))


def whole(step: Step, order: Order, found: Receipt, left: int | None) -> Receipt:
    """What was found, if it is what was asked for and all of it is ``left``. An order that went on with what somebody has reversed since would ship for free.

    Raises Differs, Rejected, InDoubt.
    """
    as_asked(step, order, found)
    if left == 0:
        raise Rejected("It took place, and somebody else has undone it since", code=REVERSED_ELSEWHERE)
    if left is not None and left < found.get("amount_minor", left):
        message = "It took place, and somebody else has undone part of it since"
        raise InDoubt(message, code="partly_reversed_elsewhere", signal=CircuitSignal.SUCCESS)
    return found


# --- backward ------------------------------------------------------------------------------------------------------------


def _compensate(step: Step, order: Order, claim: Claim) -> Receipt | None:
    compensation, capabilities = claim.compensation, claim.capabilities
    _await_what_nobody_sees(claim, capabilities)
    if capabilities is not None and not capabilities.has_keys:
        _await_what_was_tried(claim, capabilities)
    if capabilities is None or _is_usable(step, claim.receipt):
        return _compensate_known(step, order, compensation, claim)
    return _compensate_blind(step, order, replace(compensation, receipt=None, amount_minor=None), claim, capabilities)


def _await_what_was_tried(claim: Claim, capabilities: Capabilities) -> None:
    """Without keys a second try is a second compensation. Raises Busy: an earlier one may still land."""
    if claim.doubt:
        _await_silence(claim.seen_to_pass(claim.own_quiet_s), capabilities.lookup_lag_s, "An earlier try may still land")


def _is_usable(step: Step, receipt: Receipt | None) -> bool:
    """Whether the receipt has what this code needs. One of an older version may not, and then counts as none."""
    return receipt is not None and all(field in receipt for field in step.receipt_fields)


def _compensate_known(step: Step, order: Order, compensation: Compensation, claim: Claim) -> Receipt | None:
    """Compensate what is known by its receipt. After a try in doubt ask first what is left: it may be less than was asked for, or nothing.

    Ask too where the provider may have forgotten the key: an earlier try may have been lost with a database that has crashed, so the journal knows of no doubt.
    """
    left = step.left(order, compensation.do_key) if claim.doubt or claim.key_may_be_forgotten else None
    if left == 0:
        return {"found_compensated": True, "amount_minor": compensation.amount_minor}
    if left is not None and compensation.amount_minor is not None and left < compensation.amount_minor:
        given_back = compensation.amount_minor - left
        raise Changed(f"{given_back} of {compensation.amount_minor} had been given back by somebody else", "remainder_changed", given_back)
    return as_scheduled(compensation, step.compensate(order, compensation))


def _compensate_blind(step: Step, order: Order, compensation: Compensation, claim: Claim, capabilities: Capabilities) -> Receipt | None:
    if capabilities.blind is Blind.TOMBSTONE:
        return _nothing_left(step, order, compensation, as_scheduled(compensation, step.compensate(order, compensation)))
    found = step.resolve(order, compensation.do_key)
    burns = found is None and capabilities.blind is Blind.BURN
    if burns:
        found = _burn(step, order, compensation.do_key)
        if found is None:
            return {"burnt": True}
    if found is None:
        raise _watch(claim, capabilities)
    left = step.left(order, compensation.do_key)
    if left == 0:
        return {"found_compensated": True, "amount_minor": claim.amount_minor}
    currency = found.get("currency", compensation.currency)
    known = replace(compensation, receipt=found, amount_minor=_amount_of(found, left), currency=currency)
    compensated = as_scheduled(known, step.compensate(order, known))
    return {**(compensated or {}), "burnt": True} if burns else compensated


def _nothing_left(step: Step, order: Order, compensation: Compensation, given_back: Receipt | None) -> Receipt | None:
    """What was given back, where it is less than the step asks for. Perhaps no more was there; only the provider can say so. Raises Differs: more is there."""
    amount, asked = (given_back or {}).get("amount_minor"), step.asks_minor(order)
    if not amount or asked is None or amount >= asked or not (left := step.left(order, compensation.do_key)):
        return given_back
    message = f"{money(amount, compensation.currency)} was given back, and {money(left, compensation.currency)} is still there"
    raise Differs(message, PARTLY_GIVEN_BACK, amount, step.resolve(order, compensation.do_key))


def _amount_of(found: Receipt, left: int | None) -> int | None:
    """What is to be given back of what was found: what is left of it. None: it is no money. Raises Differs: it is not a usable amount."""
    amount: int | None = found.get("amount_minor")
    if amount is not None and amount <= 0:
        raise Differs(f"The provider shows an amount of {amount} (minor units), which nobody can give back", UNUSABLE)
    return left if amount is not None and left is not None else amount


def _burn(step: Step, order: Order, do_key: str) -> Receipt | None:
    """Do it under its own key, so that nothing else can be done under that key. None: the provider has declined, and remembers that it has."""
    try:
        return step.execute(order, do_key)
    except Rejected:
        return None


def _watch(claim: Claim, capabilities: Capabilities) -> StepError:
    """What to answer while nothing is found: Busy until nothing under this key can land any more; then Rejected, and a person decides.

    That nothing was found proves nothing.
    """
    over = claim.age_s > capabilities.key_window_s + capabilities.lookup_lag_s and (claim.quiet_s or 0.0) > capabilities.lookup_lag_s
    if over:
        return Rejected("Nothing was found until nothing could land any more, which proves nothing", code=WATCHED_IN_VAIN)
    return Busy("Nothing is there yet; it is watched for until it can no longer land", code=WATCHING)
