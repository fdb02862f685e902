"""An order's money, as its provider lists it: what is held is what is due, nobody is charged twice, and our own ledger says the same.

*Own* is what lies under a key of the plan, with the provider that the plan pins, in the order's currency. Whatever else is there belongs to nobody.
"""

from collections.abc import Iterable, Iterator

from fulfillment.gateways import capabilities_of
from fulfillment.models import SagaState, StepRecord
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered
from fulfillment.reconciliation.listings import Charged
from orders.money import money

ROLE = "payments"


def charges_nobody_owns(gathered: Gathered) -> Iterator[Finding]:
    """A charge under no key of the plan. Where a person has said that the order was paid, it may be the one that was meant."""
    foreign = [charge for charge in gathered.charges if charge.is_open and not _is_own(gathered, charge)]
    if not foreign or (gathered.is_completed and gathered.is_by_hand(ROLE) and left(gathered.charges) <= gathered.order.total_minor):
        return
    currency = foreign[0].currency
    amount = left(charge for charge in foreign if charge.currency == currency)
    keys = ", ".join(f"{charge.key} of {money(charge.left_minor, charge.currency)} with {charge.provider}" for charge in foreign)
    yield gathered.finding(Rule.CHARGE_NOBODY_OWNS, f"charged under {keys}", amount_minor=amount, currency=currency)


def nothing_given_back_twice(gathered: Gathered) -> Iterator[Finding]:
    """A refund that was refused has landed after all, beside the one that followed it; or somebody has given back what was given back."""
    if twice := sum(charge.twice_minor for charge in own_charges(gathered)):
        message = f"{_shown(gathered, twice)} given back beyond what was taken"
        yield gathered.finding(Rule.REFUNDED_TWICE, message, amount_minor=twice)


def money_adds_up(gathered: Gathered) -> Iterator[Finding]:
    """What is held of the own charges is due. The first thing that is off counts: the rest follows from it."""
    if not gathered.of_role(ROLE):
        return
    for rule in (_too_much, _too_little, _one_charge_per_key, _ledger_agrees):
        if found := list(rule(gathered)):
            yield from found
            return


def _too_much(gathered: Gathered) -> Iterator[Finding]:
    held, (_, most) = left(own_charges(gathered)), due(gathered)
    if held <= most:
        return
    if gathered.state is SagaState.COMPENSATED:
        yield from _late(gathered)
    else:
        message = f"{_shown(gathered, held)} held, {_shown(gathered, most)} due"
        yield gathered.finding(Rule.CHARGED_TOO_MUCH, message, amount_minor=held - most)


def _late(gathered: Gathered) -> Iterator[Finding]:
    """It landed after its compensation had ended, or its compensation gave back too little: either way the customer has paid for nothing."""
    for record, charges in charges_by_step(gathered):
        if amount := left(charges):
            message = (
                f"{_shown(gathered, amount)} held under {charges[0].key}, though {record.name} is {record.get_state_display().lower()}"
            )
            yield gathered.finding(Rule.LATE, message, step=record.name, amount_minor=amount)


def _too_little(gathered: Gathered) -> Iterator[Finding]:
    held, (least, _) = left(own_charges(gathered)), due(gathered)
    if held >= least:
        return
    refunded = sum(charge.refunded_minor for charge in own_charges(gathered))
    if gathered.is_completed and refunded:
        yield gathered.finding(
            Rule.REFUNDED_THOUGH_FULFILLED, f"fulfilled, yet {_shown(gathered, refunded)} refunded", amount_minor=least - held
        )
    else:
        message = f"{_shown(gathered, held)} held, {_shown(gathered, least)} due"
        yield gathered.finding(Rule.MONEY_MISSING, message, amount_minor=least - held)


def _one_charge_per_key(gathered: Gathered) -> Iterator[Finding]:
    """A provider that knows keys has charged one key twice, given back or not. Without keys, what was given back is closed."""
    for record, charges in charges_by_step(gathered):
        if len(charges) > 1 and capabilities_of(ROLE, charges[0].provider).has_keys:
            yield gathered.finding(Rule.ONE_EFFECT_PER_KEY, f"charged {len(charges)} times under {charges[0].key}", step=record.name)


def _ledger_agrees(gathered: Gathered) -> Iterator[Finding]:
    held, ours = left(own_charges(gathered)), gathered.money
    if not ours.left <= held <= ours.left + ours.by_hand and not (gathered.is_completed and gathered.is_by_hand(ROLE)):
        message = f"{_shown(gathered, held)} held by the provider, our ledger says {_shown(gathered, ours.left)}"
        yield gathered.finding(Rule.LEDGER_AGREES, message, amount_minor=abs(held - ours.left))


def due(gathered: Gathered) -> tuple[int, int]:
    """The least and the most that the provider may hold. They differ where a person has moved money, perhaps not through the provider."""
    total, ours = gathered.order.total_minor, gathered.money
    if gathered.is_completed:
        return (0 if gathered.is_by_hand(ROLE) else total), total
    if gathered.state is SagaState.COMPENSATED:
        return 0, ours.by_hand
    return ours.left, ours.left + ours.by_hand


def charges_by_step(gathered: Gathered) -> list[tuple[StepRecord, list[Charged]]]:
    """What is listed under each key of the plan, given back or not."""
    found = []
    for (provider, key), record in gathered.of_role(ROLE).items():
        charges = [charge for charge in gathered.charges if (charge.provider, charge.key) == (provider, key)]
        found.append((record, [charge for charge in charges if charge.currency == gathered.order.currency]))
    return found


def own_charges(gathered: Gathered) -> list[Charged]:
    return [charge for _, charges in charges_by_step(gathered) for charge in charges]


def left(charges: Iterable[Charged]) -> int:
    """What has not been given back, in minor units."""
    return sum(charge.left_minor for charge in charges)


def _is_own(gathered: Gathered, charge: Charged) -> bool:
    return (charge.provider, charge.key) in gathered.of_role(ROLE) and charge.currency == gathered.order.currency


def _shown(gathered: Gathered, minor: int) -> str:
    return money(minor, gathered.order.currency)
