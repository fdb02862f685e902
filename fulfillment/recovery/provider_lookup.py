"""Provider look-up: before a person decides, the provider is asked what it shows under the step's keys. Nothing is written, and no transaction is open."""

from dataclasses import dataclass

from fulfillment import engine
from fulfillment.errors import StepError
from fulfillment.models import Saga
from fulfillment.provider_call import whole, with_provider_of
from fulfillment.recovery.choices import choices, version_of
from fulfillment.recovery.requests import Request, refuse_what_is_not_legal
from fulfillment.step import Receipt, Step
from orders.models import Order
from orders.money import money
from orders.operators import Refused


@dataclass(frozen=True)
class LookedUp:
    """The provider's answer. ``receipt`` None: nothing is there now."""

    receipt: Receipt | None
    sentence: str


def look_up(request: Request) -> LookedUp | None:
    """What the provider shows. None: the decision will be refused, or was made before, so nobody is asked.

    Raises Refused: the provider does not answer; or what a person says has happened is compensated, or is not what was asked for.
    """
    saga = Saga.objects.filter(order__number=request.order).select_related("order").prefetch_related("records", "order__lines").first()
    at = engine.standing(saga) if saga else None
    if saga is None or at is None or version_of(saga.order_id) != request.version:
        return None
    legal = {choice.verb: choice for choice in choices(saga, incident_is_open=False)}
    refuse_what_is_not_legal(request, legal, f"stands at “{saga.get_state_display()}”")
    step, plan = engine.step_of(saga, at[0].name), engine.planned(saga, at[0].name)
    if step is None:
        return LookedUp(None, f"nobody could be asked, because this code does not serve {at[0].name}")
    try:
        with with_provider_of(plan.get("role", ""), plan.get("gateway", "")):
            key, receipt, left = _found_under(step, saga.order, engine.do_keys(at[0]))
    except StepError as error:
        raise Refused(f"The provider could not be asked: {error} Nothing was done.") from None
    currency = _currency_of(receipt, saga.order) if plan.get("role") == "payments" else ""
    shown = _what_the_provider_shows(at[0].name, key, receipt, left, currency)
    if request.verb == "it_happened" and receipt:
        _refuse_what_is_not_whole(step, saga.order, receipt, left, shown)
    return LookedUp(receipt, shown)


def _currency_of(receipt: Receipt | None, order: Order) -> str:
    """As the provider has answered. One that names none took what it was asked for."""
    return str((receipt or {}).get("currency") or order.currency)


def _found_under(step: Step, order: Order, keys: list[str]) -> tuple[str, Receipt | None, int | None]:
    """(key, receipt, amount left) of the first key under which something is left. Where nothing is left under any: of the newest that ever had anything."""
    found: list[tuple[str, Receipt | None, int | None]] = []
    for key in keys:
        receipt = step.resolve(order, key)
        found.append((key, receipt, step.left(order, key) if receipt else 0))
        if found[-1][2] != 0:
            return found[-1]
    return next((one for one in found if one[1]), found[0])


def _refuse_what_is_not_whole(step: Step, order: Order, receipt: Receipt, left: int | None, shown: str) -> None:
    """By the rule of the automatic path: an order does not go on with what somebody has reversed since, or with what was not asked for."""
    try:
        whole(step, order, receipt, left)
    except StepError as error:
        told = f"{shown[0].upper()}{shown[1:]}. {str(error).rstrip('.')}"
        raise Refused(f"{told}: the order would go on with what it does not have. Nothing was done.") from None


def _what_the_provider_shows(name: str, key: str, receipt: Receipt | None, left: int | None, currency: str) -> str:
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
