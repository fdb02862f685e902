"""Stated amounts: an amount that a person names must be the amount that our ledger counts, so that no remainder is written off by nobody."""

from fulfillment import ledger
from fulfillment.engine import Action
from fulfillment.models import Saga
from fulfillment.recovery.choices import held_minor, where
from fulfillment.recovery.requests import MOVES_MONEY, Request
from orders.money import money
from orders.operators import Refused


def refuse_a_wrong_amount(saga: Saga, request: Request) -> None:
    """Raises Refused: the amount is not what is still captured."""
    if request.verb not in MOVES_MONEY or request.amount_minor is None:
        return
    if request.amount_minor < 0:
        raise Refused("An amount is not negative.")
    if request.verb == "undone_by_hand":
        _refuse_a_wrong_refund(saga, where(saga), request.amount_minor)
        return
    left = ledger.remaining(saga.order_id)
    if request.amount_minor != left:
        raise Refused(f"{_both(saga, left)} of {request.order} is still captured: closing it writes off exactly that. Name this amount.")


def _refuse_a_wrong_refund(saga: Saga, record: Action, amount_minor: int) -> None:
    """A person says that all of it was given back by hand. A remainder would end as compensated, and nobody would have written it off."""
    held = held_minor(saga, record)
    if held is None and amount_minor > saga.order.total_minor:
        raise Refused(f"{saga.order.number} is worth {_both(saga, saga.order.total_minor)} in all.")
    if held is not None and amount_minor > held:
        raise Refused(f"Only {_both(saga, held)} is still captured by {record.name}: no more can have been given back.")
    if held is not None and amount_minor < held:
        raise Refused(f"{_both(saga, held)} is still captured by {record.name}: name all of it, or close the order if a part stays.")


def _both(saga: Saga, minor: int) -> str:
    return f"{money(minor, saga.order.currency)} ({minor} minor units)"
