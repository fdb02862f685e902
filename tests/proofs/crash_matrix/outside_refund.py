"""Support refunds at the provider's own pages what nobody of ours has heard of; then a person believes an old mail, and says that the step happened."""

import httpx
from django.conf import settings
from django.contrib.auth.models import User

from fulfillment import recovery
from fulfillment.models import StepRecord, StepState
from fulfillment.provider_call import with_provider_of
from fulfillment.steps import known
from orders import operators
from orders.management.commands.seed import OPERATOR
from orders.operators import Refused
from orders.refusals import RefusedAttempt

SHOWN = "nothing of it is left"  # in the sentence of a refusal, which says what the provider shows


def refunds_and_says_that_it_happened(number: str, step: str) -> bool:
    """Once the order stands in doubt there. True: the person was refused, for what the provider shows; False: not yet."""
    record = (
        StepRecord.objects.select_related("saga__order").filter(saga__order__number=number, name=step, state=StepState.IN_DOUBT).first()
    )
    if record is None or not _is_refunded(record):
        return False
    request = recovery.Request(
        order=number,
        verb="it_happened",
        version=recovery.version_of(record.saga.order_id),
        actor=operators.of_user(User.objects.get(username=OPERATOR)),
        reason="the customer has a receipt",
        evidence="an old mail",
    )
    try:
        recovery.decide(request)
    except Refused as refused:
        return SHOWN in str(refused)
    return False


def was_refused(number: str) -> bool:
    """And that is in the audit log."""
    return RefusedAttempt.objects.filter(subject=number, verb="it_happened", sentence__contains=SHOWN).exists()


def _is_refunded(record: StepRecord) -> bool:
    """By us, if it is there and was not yet."""
    order, step = record.saga.order, known(record.name)
    assert step is not None
    with with_provider_of("payments", "sandbox"):
        if step.resolve(order, record.do_key) is None:
            return False
        if step.left(order, record.do_key) == 0:
            return True
    planted = {"operation": "refund", "order": order.number, "key": record.do_key, "amount": order.total_minor, "currency": order.currency}
    return httpx.post(f"{settings.SANDBOX_URL}/control/plant", json=planted, timeout=5).is_success
