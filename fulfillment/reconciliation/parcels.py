"""An order's labels, as its carrier lists them: one for a fulfilled order, none for one that was compensated, never two."""

from collections.abc import Iterator

from fulfillment.gateways import capabilities_of
from fulfillment.models import SagaState, StepRecord
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered
from fulfillment.reconciliation.listings import Booked

ROLE = "carrier"


def labels_nobody_owns(gathered: Gathered) -> Iterator[Finding]:
    """A label under no key of the plan: a parcel may leave that nobody pays for. Where a person has shipped, or has kept a parcel, one may be there."""
    foreign = [label for label in gathered.labels if label.is_open and (label.provider, label.key) not in gathered.of_role(ROLE)]
    if not foreign or (_by_person(gathered) and len(open_labels(gathered)) <= 1):
        return
    keys = ", ".join(f"{label.key} with {label.provider}" for label in foreign)
    yield gathered.finding(Rule.LABEL_NOBODY_OWNS, f"booked under {keys}", amount_minor=gathered.order.total_minor)


def one_label_or_none(gathered: Gathered) -> Iterator[Finding]:
    """The first thing that is off with the own labels."""
    own = [(record, label) for record, labels in labels_by_step(gathered) for label in labels if label.is_open]
    if not gathered.of_role(ROLE):
        return
    if gathered.state is SagaState.COMPENSATED and own:
        record, label = own[0]
        message = f"a label lives under {label.key}, though {record.name} is {record.get_state_display().lower()}"
        yield gathered.finding(Rule.LATE, message, step=record.name, amount_minor=gathered.order.total_minor)
    elif len(own) > 1:
        yield gathered.finding(Rule.BOOKED_TWICE, f"{len(own)} labels live", amount_minor=gathered.order.total_minor)
    elif gathered.is_completed and not own and not gathered.is_by_hand(ROLE):
        yield gathered.finding(Rule.LABEL_MISSING, "fulfilled, and no label lives under the key of its plan")
    else:
        yield from _one_label_per_key(gathered)


def _one_label_per_key(gathered: Gathered) -> Iterator[Finding]:
    for record, labels in labels_by_step(gathered):
        if len(labels) > 1 and capabilities_of(ROLE, labels[0].provider).has_keys:
            yield gathered.finding(Rule.ONE_EFFECT_PER_KEY, f"booked {len(labels)} times under {labels[0].key}", step=record.name)


def labels_by_step(gathered: Gathered) -> list[tuple[StepRecord, list[Booked]]]:
    """What is listed under each key of the plan, cancelled or not."""
    plan = gathered.of_role(ROLE).items()
    return [(record, [label for label in gathered.labels if (label.provider, label.key) == place]) for place, record in plan]


def open_labels(gathered: Gathered) -> list[Booked]:
    return [label for label in gathered.labels if label.is_open]


def _by_person(gathered: Gathered) -> bool:
    return gathered.is_by_hand(ROLE) or gathered.state is SagaState.CLOSED_BY_OPERATOR
