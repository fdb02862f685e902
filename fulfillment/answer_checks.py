"""Answers are checked where they arrive: the journal can hold them, and amount and currency are what was asked for.

Another amount in the order's currency is something that our ledger can hold. It is entered, and then it, or what is left, is refunded. Another currency, nothing, or
less than nothing cannot be entered: a person must look.
"""

import json
from collections.abc import Callable

from fulfillment.errors import CircuitSignal, Differs, InDoubt
from fulfillment.step import Compensation, Receipt, Step
from orders.models import Order
from orders.money import money

LARGEST_RECEIPT = 20_000  # characters of JSON
LARGEST_AMOUNT = 2**63 - 1  # minor units: what our ledger's column holds
OTHER_AMOUNT, OTHER_CURRENCY, UNUSABLE = "other_amount", "other_currency", "unusable_amount"
PARTLY_GIVEN_BACK, GAVE_TOO_MUCH = "partly_given_back", "gave_back_too_much"


def storable(receipt: object) -> Receipt | None:
    """The receipt, if the journal can hold it. Raises InDoubt: the call took place, and its receipt cannot be kept, so the same key must ask again."""
    try:
        if receipt is not None and not isinstance(receipt, dict):
            raise TypeError(f"a receipt is a dict, not {type(receipt).__name__}")
        text = json.dumps(receipt, allow_nan=False, ensure_ascii=False)
        text.encode()  # half of a surrogate pair has no bytes
    except (TypeError, ValueError, RecursionError) as wrong:
        raise InDoubt(f"The step's receipt cannot be stored: {wrong}", code="receipt_unusable", signal=CircuitSignal.SUCCESS) from None
    if "\\u0000" in text or len(text) > LARGEST_RECEIPT:
        message = "The step's receipt cannot be stored: it is too long, or holds a null character"
        raise InDoubt(message, code="receipt_unusable", signal=CircuitSignal.SUCCESS)
    return receipt


def as_asked(step: Step, order: Order, receipt: Receipt) -> Receipt:
    """The receipt of a step that took what was asked for, or that takes no money. Raises Differs; InDoubt: the journal cannot hold the receipt."""
    storable(receipt)
    asked = step.asks_minor(order)
    if asked is None:
        return receipt
    amount = _usable(receipt, order.currency, lambda: f"{step.name.capitalize()} was asked for {money(asked, order.currency)}")
    if amount != asked:
        message = f"{step.name.capitalize()} took {money(amount, order.currency)} where {money(asked, order.currency)} was asked for"
        raise Differs(message, OTHER_AMOUNT, amount, receipt)
    return receipt


def as_scheduled(compensation: Compensation, given_back: Receipt | None) -> Receipt | None:
    """What a compensation has given back, if that is all that it was scheduled for. Without an amount: whatever was there, also nothing. Raises Differs."""
    if not given_back or "amount_minor" not in given_back:
        return given_back  # what remains in our ledger is seen when the last compensation has ended
    if compensation.amount_minor is None:
        if given_back["amount_minor"] != 0:
            _usable(given_back, compensation.currency, lambda: "Whatever was there was to be given back")
        return given_back
    asked = money(compensation.amount_minor, compensation.currency)
    amount = _usable(given_back, compensation.currency, lambda: f"{asked} was to be given back")
    if amount < compensation.amount_minor:
        raise Differs(f"{money(amount, compensation.currency)} of {asked} was given back", PARTLY_GIVEN_BACK, amount, compensation.receipt)
    if amount > compensation.amount_minor:
        raise Differs(
            f"{money(amount, compensation.currency)} was given back where {asked} was asked for",
            GAVE_TOO_MUCH,
            amount,
            compensation.receipt,
        )
    return given_back


def _usable(answer: Receipt, currency: str, asked: Callable[[], str]) -> int:
    """The amount of the answer, in ``currency``. ``asked``: for what, as words; they cost more than the comparison. Raises Differs: our ledger cannot hold it."""
    amount, answered_in = answer.get("amount_minor"), answer.get("currency") or currency
    if answered_in == currency and type(amount) is int and 0 < amount <= LARGEST_AMOUNT:
        return amount
    message = f"{asked()}, and the provider answered {amount} {answered_in} (minor units)"
    raise Differs(message, OTHER_CURRENCY if answered_in != currency else UNUSABLE)
