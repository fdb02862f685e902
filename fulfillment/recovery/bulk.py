"""One verb over many orders: every order whose open incident fits a filter is tried again with a fresh budget, one decision and one result each."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Max

from fulfillment.models import Quarantine, Saga, SagaState
from fulfillment.recovery.choices import choices
from fulfillment.recovery.grouping import awake, snoozed
from fulfillment.recovery.requests import Refused, Request, refuse_whom_it_is_not_for
from fulfillment.recovery.verbs import decide
from orders import refusals
from orders.attention import Incident
from orders.database import is_our_trouble
from orders.models import Order
from orders.operators import Actor
from orders.timeline import TimelineEntry

log = logging.getLogger(__name__)

PAGE = 200


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An order that the filter has found. ``version``: as it was judged. ``skip``: why retry is not legal for it; empty: it will be retried."""

    order: str
    version: int = 0
    skip: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one order: ``done``, ``repeated``, ``refused`` (the sentence says why) or ``failed``."""

    order: str
    outcome: str
    sentence: str

    @property
    def went_well(self) -> bool:
        return self.outcome in ("done", "repeated")


def candidates(*, kind: str = "", step: str = "", code: str = "") -> list[Candidate]:
    """Every order with an open incident that fits all filters given, oldest order first; an empty filter fits everything."""
    wanted = {name: value for name, value in {"kind": kind, "step": step, "code": code}.items() if value}
    fitting = awake().filter(**wanted).order_by()
    ids = list(fitting.filter(order__isnull=False).order_by("order_id").values_list("order_id", flat=True).distinct())
    found = [candidate for start in range(0, len(ids), PAGE) for candidate in _judged(ids[start : start + PAGE])]
    asleep = snoozed().filter(**wanted, order__isnull=False).exclude(order_id__in=ids)
    strangers = fitting.filter(order__isnull=True)
    return found + _skipped(asleep, "snoozed") + _skipped(strangers, "no order of ours")


def _judged(order_ids: list[int]) -> Iterator[Candidate]:
    versions = dict(TimelineEntry.objects.filter(order_id__in=order_ids).order_by().values_list("order_id").annotate(Max("id")))
    held = Quarantine.objects.filter(order_id__in=order_ids).values_list("order_id", flat=True)
    for order_id, number in Order.objects.filter(pk__in=held).order_by("pk").values_list("pk", "number"):
        yield Candidate(order=number, version=versions.get(order_id, 0))
    sagas = Saga.objects.filter(order_id__in=order_ids).exclude(order_id__in=held)
    for saga in sagas.select_related("order").prefetch_related("records").order_by("order_id"):
        yield Candidate(order=saga.order.number, version=versions.get(saga.order_id, 0), skip=_why_not_safely(saga))


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


def _skipped(incidents: Iterable[Incident], why: str) -> list[Candidate]:
    return [Candidate(order=subject, skip=why) for subject in sorted({incident.subject for incident in incidents})]


def told(found: list[Candidate]) -> str:
    """38 selected: 31 will be retried, 7 skipped (5 completed, 2 running)."""
    skipped = Counter(candidate.skip for candidate in found if candidate.skip)
    why = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    taken = len(found) - skipped.total()
    return f"{len(found)} selected: {taken} will be retried, {skipped.total()} skipped" + (f" ({why})" if why else "")


def retry(found: Iterable[Candidate], *, actor: Actor, reason: str, rate_per_s: float) -> Iterator[Result]:
    """Decide each that is not to be skipped, at most ``rate_per_s`` of them a second. One that has moved on since it was judged is refused, and says so.
    Raises Refused: none is for this actor.
    """
    with refusals.kept(actor, "retry", ""):
        refuse_whom_it_is_not_for(actor, "retry")
    due = time.monotonic()
    for candidate in found:
        if candidate.skip:
            continue
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic()) + 1 / rate_per_s
        yield _retried(candidate, actor, reason)


def _retried(candidate: Candidate, actor: Actor, reason: str) -> Result:
    request = Request(order=candidate.order, verb="retry", version=candidate.version, actor=actor, reason=reason)
    try:
        answer = decide(request)
    except Refused as refused:
        return Result(order=candidate.order, outcome="refused", sentence=str(refused))
    except Exception as error:
        if is_our_trouble(error):
            raise  # the database's trouble, and not this order's
        log.exception("%s could not be retried", candidate.order)
        return Result(order=candidate.order, outcome="failed", sentence=f"{candidate.order}: {type(error).__name__}. Nothing was done.")
    return Result(order=candidate.order, outcome=answer.outcome, sentence=answer.sentence)
