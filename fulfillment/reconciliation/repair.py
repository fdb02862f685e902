"""What landed after its compensation is compensated here, as the step itself would: under a key that is always the same, with the provider that the plan pins.

Only on orders that were compensated whole, by the engine alone, and only under the key of the plan: about everything else a person decides. Repeating it is
harmless: a run that dies in between is followed by one that finds either nothing left, or the same key.
"""

import logging

from django.db import transaction

from fulfillment import engine, keys, ledger
from fulfillment.errors import StepError
from fulfillment.gateways import pinned
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState, StepRecord
from fulfillment.reconciliation import parcels
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered
from fulfillment.reconciliation.incidents import ACTOR
from fulfillment.step import Compensation, Receipt, Step
from orders.incidents import resolve_incidents
from orders.money import money
from orders.timeline import EntryKind, HistoryRow

log = logging.getLogger(__name__)

WHY = "it landed after its undo had ended"


def compensate_late_landings(gathered: Gathered, findings: list[Finding]) -> None:
    """In reverse order of the plan. Money is kept while a parcel may leave. What is refused, or stays in doubt, stays a person's."""
    late = {finding.step: finding for finding in findings if finding.rule is Rule.LATE}
    labels = len(parcels.open_labels(gathered))
    for record in reversed(gathered.records):
        if record.name not in late or not _is_ours_to_compensate(gathered, record):
            continue
        is_label = gathered.plans[record.name]["role"] == parcels.ROLE
        if (is_label or not labels) and _compensate(gathered, record):
            late[record.name].repaired = True
            labels -= is_label


def _is_ours_to_compensate(gathered: Gathered, record: StepRecord) -> bool:
    """The engine has compensated the order without a person, there is exactly one thing to reverse under the key, and it has not come back before."""
    role = gathered.plans[record.name].get("role", "")
    if gathered.state is not SagaState.COMPENSATED or gathered.money.by_hand or gathered.is_by_hand(role):
        return False
    place = (gathered.plans[record.name].get("gateway", ""), record.do_key)
    if LedgerEntry.objects.filter(key=_compensation_key(gathered, record)).exists():
        return False  # given back once already: the provider would only repeat its answer
    charges = sum(charge.is_open for charge in gathered.charges if (charge.provider, charge.key) == place)
    labels = sum(label.is_open for label in gathered.labels if (label.provider, label.key) == place)
    return charges + labels == 1 and engine.step_of(gathered.saga, record.name) is not None


def _compensate(gathered: Gathered, record: StepRecord) -> bool:
    step, plan = engine.step_of(gathered.saga, record.name), gathered.plans[record.name]
    assert step is not None
    compensation_key = _compensation_key(gathered, record)
    try:
        with pinned(plan["role"], plan["gateway"]):
            compensated = _call_provider(gathered, step, record.do_key, compensation_key)
    except StepError as error:
        log.warning("%s is not undone: %s", record.do_key, error)
        return False
    except Exception:  # a class nobody listed says nothing about what the provider did: the same key asks again
        log.exception("%s: unknown error while undoing it", record.do_key)
        return False
    if compensated is not None:
        _record(gathered.saga, record, compensation_key, compensated.get("amount_minor") or 0)
    return compensated is not None


def _compensation_key(gathered: Gathered, record: StepRecord) -> str:
    return keys.compensation_key(gathered.order.number, gathered.saga.nonce, record.name, "orphan")


def _call_provider(gathered: Gathered, step: Step, do_key: str, compensation_key: str) -> Receipt | None:
    """What was compensated; None: nothing is left to compensate. Outside any transaction. Raises Rejected, Unavailable, InDoubt."""
    receipt, left = step.resolve(gathered.order, do_key), step.left(gathered.order, do_key)
    if receipt is None or left == 0:
        return None
    amount = left if "amount_minor" in receipt else None
    compensation = Compensation(key=compensation_key, do_key=do_key, receipt=receipt, amount_minor=amount, currency=gathered.order.currency)
    return step.compensate(gathered.order, compensation) or {}


@transaction.atomic
def _record(saga: Saga, record: StepRecord, compensation_key: str, amount_minor: int) -> None:
    """Our ledger, the history and the incident learn of it in one commit."""
    engine.locking(Saga.objects.filter(pk=saga.pk)).get()
    _enter(saga, record, compensation_key, amount_minor)
    given_back, attempt = {"amount_minor": amount_minor}, keys.attempt_of(compensation_key)
    engine.step_compensated(saga, engine.Action(record, True), given_back, attempt=attempt)
    detail = {"reason": WHY} | ({"amount": money(amount_minor, saga.order.currency)} if amount_minor else {})
    columns = {"order_id": saga.order_id, "kind": EntryKind.OPERATOR, "name": record.name, "epoch": saga.epoch}
    HistoryRow.objects.create(**columns, code="undo_late_landing", actor=ACTOR, detail=detail)
    outcome = "refunded" if amount_minor else "cancelled"
    resolve_incidents(saga.order_id, outcome, WHY, ACTOR, kind=Rule.LATE.kind, step=record.name, code=Rule.LATE)


def _enter(saga: Saga, record: StepRecord, compensation_key: str, amount_minor: int) -> None:
    """Given back, and captured before: under the step's own key, unless a first charge under that key is known already."""
    missing = amount_minor - ledger.remaining(saga.order_id, record.name)
    if missing > 0:
        is_known = LedgerEntry.objects.filter(key=record.do_key).exists()
        key = f"{compensation_key}:captured" if is_known else record.do_key
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, key, missing)
    ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.REFUNDED, compensation_key, amount_minor)
