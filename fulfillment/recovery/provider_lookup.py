"""Provider look-up: before a person decides, the provider is asked what it shows under the step's keys. Nothing is written, and no transaction is open."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

from fulfillment import engine, ledger
from fulfillment.errors import StepError
from fulfillment.models import Saga, StepRecord
from fulfillment.provider_call import whole, with_provider_of
from fulfillment.recovery.choices import choices, version_of
from fulfillment.recovery.requests import MOVES_MONEY, Request, refuse_what_is_not_legal
from fulfillment.step import Receipt, Step
from orders.database import is_our_trouble
from orders.models import Order
from orders.money import money
from orders.operators import Refused

log = logging.getLogger(__name__)

ASKED_BEFORE = ("look_up", "it_happened", *MOVES_MONEY)  # verbs before which the provider is asked


@dataclass(frozen=True)
class LookedUp:
    """The provider's answer. ``receipt`` None: nothing is there now, or nobody has answered."""

    receipt: Receipt | None
    sentence: str


class _Shown(NamedTuple):
    """What the provider shows under ``key``. ``left``: as of ``Step.left``."""

    key: str
    receipt: Receipt | None
    left: int | None


def look_up(request: Request) -> LookedUp | None:
    """What the provider shows. None: the decision will be refused, or was made before, or is about no provider, so nobody is asked.

    Raises Refused: the provider does not answer, and the decision needs the answer; or it shows something else than the person says.
    """
    saga = Saga.objects.filter(order__number=request.order).select_related("order").prefetch_related("records", "order__lines").first()
    at = engine.standing(saga) if saga else None
    if saga is None or at is None or version_of(saga.order_id) != request.version:
        return None
    legal = {choice.verb: choice for choice in choices(saga, incident_is_open=False)}
    refuse_what_is_not_legal(request, legal, f"stands at “{saga.get_state_display()}”")
    record = _asked_about(saga, at.record, request.verb)
    if record is None:
        return None
    step = engine.step_of(saga, record.name)
    if step is None:
        return LookedUp(None, f"nobody could be asked, because this code does not serve {record.name}")
    try:
        shown = _ask(step, saga, record)
    except Exception as error:
        return _unanswered(request, error)
    sentence = _what_the_provider_shows(record.name, shown, _currency_of(shown, saga.order) if _takes_money(saga, record) else "")
    if request.verb == "it_happened" and shown.receipt:
        _refuse_what_is_not_whole(step, saga.order, shown.receipt, shown.left, sentence)
    if request.verb in MOVES_MONEY and record == at.record:
        _refuse_what_our_ledger_does_not_know(saga, record, request.verb, shown)
    return LookedUp(shown.receipt, sentence)


def _asked_about(saga: Saga, record: StepRecord, verb: str) -> StepRecord | None:
    """The step to ask about: the one where the saga stands (``record``); before a close, the one whose money remains. None: no provider has it."""
    if verb == "close":
        holding = [one for one in saga.records.all() if ledger.remaining(saga.order_id, one.name) > 0]
        record = record if record in holding or not holding else holding[0]
        return record if holding else None
    return None if verb == "undone_by_hand" and engine.is_local(saga, record) else record


def _takes_money(saga: Saga, record: StepRecord) -> bool:
    return bool(engine.planned(saga, record.name).get("role") == "payments")


def _currency_of(shown: _Shown, order: Order) -> str:
    """As the provider has answered. One that names none took what it was asked for."""
    return str((shown.receipt or {}).get("currency") or order.currency)


def _ask(step: Step, saga: Saga, record: StepRecord) -> _Shown:
    plan = engine.planned(saga, record.name)
    with with_provider_of(plan.get("role", ""), plan.get("gateway", "")):
        return _found_under(step, saga.order, engine.do_keys(record))


def _found_under(step: Step, order: Order, keys: list[str]) -> _Shown:
    """The first key under which something is left. Where nothing is left under any: the newest that ever had anything."""
    found: list[_Shown] = []
    for key in keys:
        receipt = step.resolve(order, key)
        found.append(_Shown(key, receipt, step.left(order, key) if receipt else 0))
        if found[-1].left != 0:
            return found[-1]
    return next((one for one in found if one.receipt), found[0])


def _unanswered(request: Request, error: Exception) -> LookedUp:
    """A person's word about money counts without an answer, because a provider may be gone for good. Raises Refused: any other decision needs the answer."""
    if is_our_trouble(error):
        raise error
    if request.verb in MOVES_MONEY:
        log.warning("%s: the provider could not be asked before %s", request.order, request.verb, exc_info=error)
        return LookedUp(None, f"the provider did not answer ({error if isinstance(error, StepError) else type(error).__name__})")
    if isinstance(error, StepError):
        raise Refused(f"The provider could not be asked: {error} Nothing was done.") from None
    raise error


def _refuse_what_our_ledger_does_not_know(saga: Saga, record: StepRecord, verb: str, shown: _Shown) -> None:
    """Somebody has given back a part elsewhere: the amount that a person names is then not what they gave back, or not what stays with us.

    All of it given back there is just what ``undone_by_hand`` says.
    """
    currency, held = saga.order.currency, ledger.remaining(saga.order_id, record.name)
    if shown.receipt is None or shown.left is None or shown.receipt.get("currency", currency) != currency:
        return  # nothing that can be compared with our ledger
    if shown.left >= held or (shown.left == 0 and verb == "undone_by_hand"):
        return
    raise Refused(
        f"The provider shows {money(shown.left, currency)} left of the {money(held, currency)} that our ledger says is captured. "
        "`retry` first: it enters what was given back elsewhere, and asks for the rest. Nothing was done."
    )


def _refuse_what_is_not_whole(step: Step, order: Order, receipt: Receipt, left: int | None, shown: str) -> None:
    """By the rule of the automatic path: an order does not go on with what somebody has reversed since, or with what was not asked for."""
    try:
        whole(step, order, receipt, left)
    except StepError as error:
        message = f"{shown[0].upper()}{shown[1:]}. {str(error).rstrip('.')}"
        raise Refused(f"{message}: the order would go on with what it does not have. Nothing was done.") from None


def _what_the_provider_shows(name: str, shown: _Shown, currency: str) -> str:
    """``currency`` empty: it is a parcel or the like, not money."""
    key, receipt, left = shown
    if receipt is None:
        return f"the provider shows no {name} under {key}"
    what = ", ".join(f"{field} {value}" for field, value in receipt.items())
    return f"the provider shows {name} under {key} ({what}); {_what_is_left(left, currency)}"


def _what_is_left(left: int | None, currency: str) -> str:
    """``currency`` empty: it is a parcel or the like, not money."""
    if left is None:
        return "whether it was undone cannot be asked"
    if left == 0:
        return "nothing of it is left"
    return f"{money(left, currency)} of it is left" if currency else "it has not been undone"
