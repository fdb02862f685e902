"""One talk with a provider, as its capability card allows: ask, look up before asking again, undo with a receipt or blind. Writes nothing.

Note: doubt, resolved in this order. The same key again while the provider remembers it, counted from the grant. After that, and where keys are unknown, a
look-up by key comes first; "nothing there" counts only once the provider's lag is over, by the database's clock and by this process's own. Whoever turns back in
doubt undoes blind: by tombstone, by burning the key, or by watching until nothing can land any more; a look-up that finds nothing never ends an undo.

Note: after a refusal. An attempt that was refused may land after all, where an earlier try of it is still on its way and refusals are not kept. So the next one
asks for nothing until lease and lag of all before it are over, and until it has looked what is there.
"""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from fulfillment.answers import PARTLY_GIVEN_BACK, UNUSABLE, as_asked, as_granted, storable
from fulfillment.card import Blind, Card
from fulfillment.crashpoints import crash_point
from fulfillment.engine import Claim
from fulfillment.errors import LAG, UNDONE_ELSEWHERE, WATCHED_IN_VAIN, WATCHING, Busy, Changed, Differs, InDoubt, Rejected, StepError
from fulfillment.gateways import pinned
from fulfillment.gateways.lease import Lease, leased
from fulfillment.step import Receipt, Step, Undo
from orders.database import is_our_trouble
from orders.models import Order
from orders.money import money
from orders.soft_limit import SoftTimeLimitExceeded, interruptible

log = logging.getLogger(__name__)


def talk(step: Step, claim: Claim, lease: Lease) -> Receipt | StepError | None:
    """What the call achieved, or why it did not. Outside any transaction, under the lease, with the provider that the saga's plan pins.

    The only part of a task that its soft time limit may interrupt.
    Raises DatabaseError: our own database could not serve it; the call may have been sent.
    """
    try:
        order = Order.objects.get(pk=claim.order_id)
        with interruptible(), leased(lease), with_provider_of(claim.role, claim.gateway):
            crash_point("before_call", claim.order, claim.name, undo=claim.undo)
            receipt = _undo(step, order, claim) if claim.undo else _do(step, order, claim)
            crash_point("after_call", claim.order, claim.name, undo=claim.undo)
        return storable(receipt)
    except StepError as error:
        return error
    except SoftTimeLimitExceeded:  # the provider has a deadline of its own: whoever comes this far was slow on our side
        return InDoubt("The time limit ended the talk with the provider", code="time_limit", provider_failed=False)
    except Exception as unknown:  # a class nobody listed says nothing about what the provider did
        if is_our_trouble(unknown):
            raise
        log.exception("%s of %s: unknown error, in doubt", claim.name, claim.key)
        return InDoubt(f"{type(unknown).__name__} while talking to the provider", code="unknown_error", provider_failed=False)


def with_provider_of(role: str, gateway: str) -> AbstractContextManager[None]:
    """The provider that a plan pins; a step without a role talks to whomever it likes."""
    return pinned(role, gateway) if role else nullcontext()


# --- forward -------------------------------------------------------------------------------------------------------------


def _do(step: Step, order: Order, claim: Claim) -> Receipt:
    card = claim.card
    _await_what_was_refused(claim, card)
    if card is not None and (landed := _landed_after_all(step, order, claim.refused_keys)) is not None:
        return landed
    if card is None or claim.is_once:
        receipt = as_asked(step, order, step.execute(order, claim.key))
        return receipt if card is None or claim.quiet_s is None else _still_there(step, order, claim.key, receipt)
    if (found := step.resolve(order, claim.key)) is not None:
        return whole(step, order, found, step.left(order, claim.key))
    if (quiet_s := claim.surely_quiet_s) is not None and quiet_s <= card.lookup_lag_s:
        raise Busy("The provider shows nothing under this key yet; it may still land", code=LAG)
    return as_asked(step, order, step.execute(order, claim.key))


def _await_what_was_refused(claim: Claim, card: Card | None) -> None:
    """Raises Busy: an earlier attempt may still land, so that what is shown now does not count."""
    _await_silence(claim.surely_refused_quiet_s, card.lookup_lag_s if card else 0.0, "An attempt that was refused before may still land")


def _await_silence(quiet_s: float | None, lag_s: float, why: str) -> None:
    """``quiet_s``: since nothing was sent; None: nothing ever was. Raises Busy, with the time that is left to wait."""
    if quiet_s is not None and quiet_s <= lag_s:
        raise Busy(why, code=LAG, retry_after_s=lag_s - quiet_s)


def _landed_after_all(step: Step, order: Order, refused_keys: Iterable[str]) -> Receipt | None:
    """What is there of attempts that were refused; None: nothing, now. Raises Differs, InDoubt: not what was asked for."""
    for key in refused_keys:
        found = step.resolve(order, key)
        if found is not None and (left := step.left(order, key)) != 0:
            return whole(step, order, found, left) | {"found_under": key}
    return None


def _still_there(step: Step, order: Order, key: str, receipt: Receipt) -> Receipt:
    """Asked before, so the answer may be that of an earlier try, from memory: what has become of the effect since, only a look-up says.

    Within the lag it may show nothing yet; then the answer stands.
    """
    return receipt if step.resolve(order, key) is None else whole(step, order, receipt, step.left(order, key))


def whole(step: Step, order: Order, found: Receipt, left: int | None) -> Receipt:
    """What was found is adopted only if it is what was asked for, and all of it is ``left``: going on with what somebody has undone since would ship for free.

    Raises Differs, Rejected, InDoubt.
    """
    as_asked(step, order, found)
    if left == 0:
        raise Rejected("It took place, and somebody else has undone it since", code=UNDONE_ELSEWHERE)
    if left is not None and left < found.get("amount_minor", left):
        told = "It took place, and somebody else has undone part of it since"
        raise InDoubt(told, code="partly_undone_elsewhere", provider_failed=False)
    return found


# --- backward ------------------------------------------------------------------------------------------------------------


def _undo(step: Step, order: Order, claim: Claim) -> Receipt | None:
    undo, card = claim.undo_of(order), claim.card
    _await_what_was_refused(claim, card)
    if card is not None and not card.has_keys:
        _await_what_was_tried(claim, card)
    if card is None or _is_usable(step, claim.receipt):
        return _undo_known(step, order, undo, claim)
    return _undo_blind(
        step, order, Undo(key=undo.key, do_key=undo.do_key, receipt=None, amount_minor=None, currency=undo.currency), claim, card
    )


def _await_what_was_tried(claim: Claim, card: Card) -> None:
    """Without keys a second try is a second undo. Raises Busy: an earlier one may still land."""
    if claim.undo_doubt:
        _await_silence(claim.surely_undo_quiet_s, card.lookup_lag_s, "An earlier try may still land")


def _is_usable(step: Step, receipt: Receipt | None) -> bool:
    """One of an older version may lack what this code needs: then it says no more than no receipt."""
    return receipt is not None and all(field in receipt for field in step.receipt_fields)


def _undo_known(step: Step, order: Order, undo: Undo, claim: Claim) -> Receipt | None:
    """After a try in doubt, ask first what is left: another try may find less than was granted, or nothing."""
    left = step.left(order, undo.do_key) if claim.undo_doubt else None
    if left == 0:
        return {"found_undone": True, "amount_minor": undo.amount_minor}
    if left is not None and undo.amount_minor is not None and left < undo.amount_minor:
        given_back = undo.amount_minor - left
        raise Changed(f"{given_back} of {undo.amount_minor} had been given back by somebody else", "remainder_changed", given_back)
    return as_granted(undo, step.compensate(order, undo))


def _undo_blind(step: Step, order: Order, undo: Undo, claim: Claim, card: Card) -> Receipt | None:
    if card.blind is Blind.TOMBSTONE:
        return _nothing_left(step, order, undo, as_granted(undo, step.compensate(order, undo)))
    found = step.resolve(order, undo.do_key)
    burns = found is None and card.blind is Blind.BURN
    if burns:
        found = _burn(step, order, undo.do_key)
        if found is None:
            return {"burnt": True}
    if found is None:
        raise _watch(claim, card)
    left = step.left(order, undo.do_key)
    if left == 0:
        return {"found_undone": True, "amount_minor": claim.undo_amount_minor}
    currency = found.get("currency", undo.currency)
    known = Undo(key=undo.key, do_key=undo.do_key, receipt=found, amount_minor=_amount_of(found, left), currency=currency)
    undone = as_granted(known, step.compensate(order, known))
    return {**(undone or {}), "burnt": True} if burns else undone


def _nothing_left(step: Step, order: Order, undo: Undo, given_back: Receipt | None) -> Receipt | None:
    """Less was given back than the step asks for: perhaps no more was there, and only the provider can say so. Raises Differs: more is there."""
    amount, asked = (given_back or {}).get("amount_minor"), step.asks_minor(order)
    if not amount or asked is None or amount >= asked or not (left := step.left(order, undo.do_key)):
        return given_back
    told = f"{money(amount, undo.currency)} was given back, and {money(left, undo.currency)} is still there"
    raise Differs(told, PARTLY_GIVEN_BACK, amount, step.resolve(order, undo.do_key))


def _amount_of(found: Receipt, left: int | None) -> int | None:
    """What is to be given back of what was found: what is left of it. None: it is no money. Raises Differs: it is no amount."""
    amount: int | None = found.get("amount_minor")
    if amount is not None and amount <= 0:
        raise Differs(f"The provider shows an amount of {amount} (minor units), which nobody can give back", UNUSABLE)
    return left if amount is not None and left is not None else amount


def _burn(step: Step, order: Order, do_key: str) -> Receipt | None:
    """Do it under its own key, so that nothing else can be done under it any more. None: the provider declined, and will go on declining."""
    try:
        return step.execute(order, do_key)
    except Rejected:
        return None


def _watch(claim: Claim, card: Card) -> StepError:
    """Until nothing under this key can land any more; then it is a person's: that nothing was found proves nothing."""
    over = claim.age_s > card.key_window_s + card.lookup_lag_s and (claim.quiet_s or 0.0) > card.lookup_lag_s
    if over:
        return Rejected("Nothing was found until nothing could land any more, which proves nothing", code=WATCHED_IN_VAIN)
    return Busy("Nothing is there yet; it is watched for until it can no longer land", code=WATCHING)
