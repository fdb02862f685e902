"""Bulk retries: orders whose open incident fits a filter are tried again with a fresh budget. Exactly the set that a person has seen is touched.

First a preview is stored, with the version and the amount of each order. A person confirms that set. The sweep then works it off, at no more than so many orders a
second, and goes on where it stopped if it is killed. What became of each order is read from the order.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max

from fulfillment.clock import ShopNow, shop_now
from fulfillment.ledger import LedgerEntry
from fulfillment.models import FINAL, Quarantine, Saga, SagaState
from fulfillment.recovery.choices import choices
from fulfillment.recovery.decisions import decide
from fulfillment.recovery.incident_groups import amounts, awake, snoozed
from fulfillment.recovery.requests import Request, refuse_a_card_number, require_permission
from fulfillment.retry_batches import RetryBatch, RetryItem
from orders import operators, refusals
from orders.database import is_our_trouble, is_unusable
from orders.incidents import Incident
from orders.models import Order
from orders.operators import Actor, Refused
from orders.timeline import TimelineEntry

log = logging.getLogger(__name__)

PAGE = 200
FASTEST_PER_S = 50.0  # of all batches together: each decision costs the sweep about 10 ms, and each order its provider a call
WAITING, FAILED_AGAIN = "waiting", "failed again"


# --- the preview ----------------------------------------------------------------------------------------------------------


def _candidates(kind: str, step: str, code: str) -> list[RetryItem]:
    """Every order with an open incident that fits all given filters, oldest order first. An empty filter fits everything. The items are not stored."""
    wanted = {name: value for name, value in {"kind": kind, "step": step, "code": code}.items() if value}
    fitting = awake().filter(**wanted).order_by()
    rows = fitting.filter(order__isnull=False).values_list("order_id").annotate(Max("amount_minor")).order_by("order_id")
    at_risk = {order_id: amount for order_id, amount in rows if order_id is not None}
    ids = list(at_risk)
    found = [item for start in range(0, len(ids), PAGE) for item in _judged(ids[start : start + PAGE], at_risk)]
    asleep = snoozed().filter(**wanted, order__isnull=False).exclude(order_id__in=ids)
    strangers = fitting.filter(order__isnull=True)
    return found + _skipped(asleep, "snoozed") + _skipped(strangers, "no order of ours")


def _judged(order_ids: list[int], at_risk: dict[int, int]) -> Iterator[RetryItem]:
    versions = dict(TimelineEntry.objects.filter(order_id__in=order_ids).order_by().values_list("order_id").annotate(Max("id")))
    held = {pk for pk in Quarantine.objects.filter(order_id__in=order_ids).values_list("order_id", flat=True) if pk is not None}
    sagas = Saga.objects.filter(order_id__in=order_ids).exclude(order_id__in=held).prefetch_related("records").select_related("order")
    known = {saga.order_id: saga for saga in sagas}
    for order in Order.objects.filter(pk__in=held | set(known)).order_by("pk"):
        skip = "" if order.pk in held else _why_not_safely(known[order.pk])
        yield RetryItem(
            order=order.number,
            order_id=order.pk,
            version=versions.get(order.pk, 0),
            amount_minor=at_risk[order.pk],
            currency=order.currency,
            skip=skip,
        )


def _why_not_safely(saga: Saga) -> str:
    try:
        return _why_not(saga)
    except Exception:
        log.exception("%s: what it says cannot be read", saga.order.number)
        return "cannot be read"


def _why_not(saga: Saga) -> str:
    if any(choice.verb == "retry" for choice in choices(saga, incident_is_open=True)):
        return ""
    if saga.state == SagaState.NEEDS_ATTENTION:
        return "its step is not in this code"
    return str(saga.get_state_display()).lower()


def _skipped(incidents: Iterable[Incident], why: str) -> list[RetryItem]:
    return [RetryItem(order=subject, skip=why) for subject in sorted({incident.subject for incident in incidents})]


@transaction.atomic
def preview(*, kind: str = "", step: str = "", code: str = "") -> RetryBatch:
    """What would be retried, stored as it is judged now. Nothing is done."""
    batch = RetryBatch.objects.create(filters={"kind": kind, "step": step, "code": code})
    found = _candidates(kind, step, code)
    for item in found:
        item.batch = batch
    RetryItem.objects.bulk_create(found)
    return batch


def describe(batch: RetryBatch) -> str:
    """38 selected: 31 will be retried (€2,604.00 at risk), 7 skipped (5 completed, 2 running)."""
    items = list(batch.items.all())
    taken = [item for item in items if not item.skip]
    skipped = Counter(item.skip for item in items if item.skip)
    why = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    risk = amounts(*({item.currency: item.amount_minor} for item in taken))
    retried = f"{len(taken)} will be retried" + (f" ({risk} at risk)" if risk else "")
    return f"{len(items)} selected: {retried}, {skipped.total()} skipped" + (f" ({why})" if why else "")


# --- a person confirms it -------------------------------------------------------------------------------------------------


def confirm(number: int, actor: Actor, reason: str, rate_per_s: float) -> RetryBatch:
    """From now on the sweep works it off. To confirm twice changes nothing. Raises Refused: there is no such batch, or it is not for this actor."""
    with refusals.recorded(actor, "retry", f"batch {number}"):
        require_permission(actor, "retry")
        refuse_a_card_number(reason)
        if not RetryBatch.objects.filter(pk=number).exists():
            raise Refused(f"There is no batch {number}: `manage.py retry_orders` with a filter previews one, and prints its number.")
        by = {"user": actor.user, "actor": actor.name, "reason": reason, "rate_per_s": min(rate_per_s, FASTEST_PER_S)}
        RetryBatch.objects.filter(pk=number, confirmed_at=None).update(confirmed_at=ShopNow(), next_at=ShopNow(), **by)
    return RetryBatch.objects.get(pk=number)


# --- the sweep works it off -----------------------------------------------------------------------------------------------


def work(may_go_on: Callable[[], bool] = lambda: True) -> int:
    """One round: as many orders of the confirmed batch whose turn it is as its rate allows. Returns how many were decided.

    If this is killed anywhere, the next round goes on. A decision that was recorded, and not noted here, is answered "repeated". So nothing is done twice.
    """
    batch = RetryBatch.objects.filter(confirmed_at__isnull=False, ended_at=None).order_by("next_at", "id").first()
    if batch is None or batch.next_at is None or batch.next_at > shop_now():
        return 0
    waiting = batch.items.filter(skip="", outcome="").order_by(F("tried_at").asc(nulls_first=True), "id")
    decided = 0
    for item in list(waiting[: max(1, int(batch.rate_per_s * settings.SWEEP_EVERY_S))]):
        if not may_go_on() or not _decided(batch, item):
            break
        decided += 1
    after = timedelta(seconds=max(decided, 1) / batch.rate_per_s)
    RetryBatch.objects.filter(pk=batch.pk).update(next_at=shop_now() + after, ended_at=None if waiting.exists() else ShopNow())
    return decided


def _decided(batch: RetryBatch, item: RetryItem) -> bool:
    """False: somebody holds its rows, and this round has waited enough for them. The others go first."""
    RetryItem.objects.filter(pk=item.pk).update(tried_at=ShopNow())
    try:
        outcome, sentence = _outcome(batch, item)
    except Exception as error:
        if is_unusable(error):
            raise
        if is_our_trouble(error):
            return False
        log.exception("%s could not be retried", item.order)
        outcome, sentence = "failed", f"{item.order}: {type(error).__name__}. Nothing was done."
    RetryItem.objects.filter(pk=item.pk, outcome="").update(outcome=outcome, sentence=sentence, decided_at=ShopNow())
    return True


def _outcome(batch: RetryBatch, item: RetryItem) -> tuple[str, str]:
    try:
        actor = _still(batch)
        answer = decide(Request(order=item.order, verb="retry", version=item.version, actor=actor, reason=batch.reason))
    except Refused as refused:
        return "refused", str(refused)
    return answer.outcome, answer.sentence


def _still(batch: RetryBatch) -> Actor:
    """The person who has confirmed it, with the permissions of now. Raises Refused: they may not operate any more."""
    user = User.objects.filter(pk=batch.user).first() if batch.user else None
    if user is None or not operators.may_operate(user):
        raise Refused(f"{batch.actor}, who has confirmed {batch}, may not operate any more. Nothing was done.")
    return operators.of_user(user)


# --- what became of them --------------------------------------------------------------------------------------------------


def outcomes(batch: RetryBatch) -> dict[str, str]:
    """Order number → what became of it, as it stands now: refunded, undone, completed, closed by operator, failed again, refused, failed, or waiting."""
    items = list(batch.items.filter(skip=""))
    ids = [item.order_id for item in items if item.order_id is not None]
    states = dict(Saga.objects.filter(order_id__in=ids).values_list("order_id", "state"))
    held = dict(Quarantine.objects.filter(order_id__in=ids).values_list("order_id", "last_at"))
    refunded = set(
        LedgerEntry.objects.filter(order_id__in=ids, operation=LedgerEntry.Operation.REFUNDED).values_list("order_id", flat=True)
    )
    return {
        item.order: _became(item, str(states.get(item.order_id or 0, "")), held.get(item.order_id), item.order_id in refunded)
        for item in items
    }


def _became(item: RetryItem, state: str, held_at: datetime | None, is_refunded: bool) -> str:
    if item.outcome in ("refused", "failed"):
        return item.outcome
    if not item.outcome or item.decided_at is None:
        return WAITING
    if held_at is not None:
        return FAILED_AGAIN if held_at > item.decided_at else WAITING
    if state == SagaState.COMPENSATED:
        return "refunded" if is_refunded else "undone"
    if state in FINAL:
        return str(SagaState(state).label).lower()
    return FAILED_AGAIN if state == SagaState.NEEDS_ATTENTION else WAITING


def counted(became: dict[str, str]) -> str:
    """160 refunded, 40 failed again, 0 waiting."""
    counts = Counter(became.values())
    waiting = counts.pop(WAITING, 0)
    return ", ".join([*(f"{count} {what}" for what, count in counts.most_common()), f"{waiting} waiting"])
