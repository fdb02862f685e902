"""The events of an order: its history in words and codes for a client. A client follows them by ``seq``, and sees each of them once.

Every entry that is an event is written under the saga's row lock. So the entries of one order become visible in the order of their keys, and the place of an event
in that order (its ``seq``) never changes. Side effects and incidents are written beside each other, without that lock: they are no events.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from drf_canon.errors import QueryParamError
from rest_framework.exceptions import ErrorDetail

from fulfillment.models import Saga, SagaState, StepState
from orders.api.parameters import Number, Paged
from orders.models import Order, Status
from orders.timeline import EntryKind, TimelineEntry, sentence

SUBJECTS: dict[str, str] = {
    EntryKind.ORDER: "order",
    EntryKind.SAGA: "order",
    EntryKind.STEP: "step",
    EntryKind.HELD: "step",
    EntryKind.CANCEL: "cancel",
}
WITH_A_PERSON = Q(kind=EntryKind.SAGA, to_state=SagaState.NEEDS_ATTENTION)
# Any other move of a saga is told by its order and its steps.
EVENTS = Q(kind__in=[EntryKind.ORDER, EntryKind.STEP, EntryKind.HELD, EntryKind.CANCEL]) | WITH_A_PERSON

TYPES = (
    *(f"order.{status.value}" for status in Status),
    "order.needs_attention",
    *(f"step.{state.value}" for state in StepState),
    *("step.held", "step.released", "cancel.requested", "cancel.too_late"),
)
CURSOR = "`next_cursor` of the page before: the `seq` of the last event that you have seen."


class EventQuery(Paged):
    """``cursor``: the ``seq`` of the last event that was seen."""

    cursor = Number(min_value=0, default=0, help_text=CURSOR)  # type: ignore[assignment]  # a number here


def events_of(order: Order, after: int, count: int) -> list[Any]:
    """The first ``count`` behind ``after``, as they happened. None of an order whose history was removed: the places of those that are left are not known any more.

    Raises QueryParamError: there is no event ``after``, so that whatever happens next would be missed.
    """
    of_the_order = TimelineEntry.objects.filter(EVENTS, order=order, order__saga__history_pruned_at=None)
    numbered = of_the_order.annotate(seq=Window(RowNumber(), order_by=F("pk").asc()))
    found = list(numbered.filter(seq__gt=after).order_by("seq")[:count])
    if not found and after > (last := of_the_order.count()) and not _is_pruned(order):
        message = f"Must be the `next_cursor` of an answer about this order. Its last event is {last}."
        raise QueryParamError({"cursor": [ErrorDetail(message, "invalid")]})
    return found


def _is_pruned(order: Order) -> bool:
    return Saga.objects.filter(order=order, history_pruned_at__isnull=False).exists()


def shown(entries: Sequence[Any]) -> list[dict[str, Any]]:
    return [_event(entry) for entry in entries]


def _event(entry: Any) -> dict[str, Any]:
    """``code``: why a try did not succeed. That of any other entry is ours."""
    return {
        "seq": entry.seq,
        "at": entry.at,
        "type": f"{SUBJECTS[entry.kind]}.{entry.to_state}",
        "step": entry.name,
        "code": entry.code if entry.kind == EntryKind.STEP else "",
        "sentence": "A person is looking at this" if entry.kind == EntryKind.SAGA else sentence(entry, inside=False),
    }
