"""Dead letters and held deliveries: what waits for a person, and what a person gives up."""

from dataclasses import dataclass

from django.db.models import Count, Max, Q, QuerySet

from orders import refusals
from orders.operators import Actor
from sideeffects import deliveries
from sideeffects.models import Delivery, DeliveryState

WAITING = (DeliveryState.DEAD, DeliveryState.SUBSCRIBER_REMOVED)


@dataclass(frozen=True, kw_only=True)
class DeliveryGroup:
    """Deliveries of one subscriber in one state, with one cause. ``code``: the code of the error. ``error``: the sentence of the last one."""

    subscriber: str
    state: DeliveryState
    code: str
    count: int
    error: str


def groups() -> list[DeliveryGroup]:
    """What waits for a person, read on an index of its own: it is fast when there is little to decide."""
    return grouped(Delivery.objects.filter(state__in=WAITING))


def all_groups() -> list[DeliveryGroup]:
    """Every delivery that has not happened and was not given up, each part read on an index of its own."""
    return grouped(Delivery.objects.filter(Q(state__in=WAITING) | Q(wake_at__isnull=False) | Q(launched_at__isnull=False)))


def grouped(of: "QuerySet[Delivery]") -> list[DeliveryGroup]:
    rows = list(of.order_by().values("subscriber", "state", "error_code").annotate(count=Count("id"), last=Max("id")))
    errors = dict(Delivery.objects.filter(pk__in=[row["last"] for row in rows]).values_list("pk", "error_message"))
    found = [
        DeliveryGroup(
            subscriber=row["subscriber"],
            state=DeliveryState(row["state"]),
            code=row["error_code"],
            count=row["count"],
            error=errors.get(row["last"], ""),
        )
        for row in rows
    ]
    return sorted(found, key=lambda group: (group.subscriber, group.state, group.code))


def chosen(subscriber: str = "", state: str = "", error: str = "", order: str = "") -> "QuerySet[Delivery]":
    """The deliveries that match, the newest first. An empty word matches all."""
    asked = {"subscriber": subscriber, "state": state, "error_code": error, "fact__order__number": order}
    found = Delivery.objects.filter(**{name: value for name, value in asked.items() if value})
    return found.select_related("fact__order").order_by("-id")


def discard(subscriber: str, actor: Actor, reason: str, state: str = "", error: str = "", order: str = "") -> int:
    """A person gives up dead letters or held deliveries: they will not happen. Each gets its history entry. Returns how many. Raises Refused."""
    with refusals.recorded(actor, "discard", order or subscriber):
        actor.must_have("sideeffects.discard_delivery", "discard deliveries")
    detail = {"user": actor.user, "message": reason}

    def give_up(batch: list[Delivery]) -> None:
        for delivery in batch:
            deliveries.move(delivery, DeliveryState.DISCARDED, code="discard", detail=detail, actor=actor.name)

    return deliveries.change_in_batches(chosen(subscriber, state, error, order).filter(state__in=WAITING), give_up)
