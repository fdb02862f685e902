"""Links to an order's tasks in Flower, whose ids say what they are: ``ORD-1043.payment.e1``. A link is stable while Flower remembers the task."""

from urllib.parse import quote

from django.conf import settings

from fulfillment.models import StepState
from orders.models import Order
from orders.timeline import Kind, TimelineEntry
from sideeffects.models import Delivery


def task(task_id: str) -> str:
    return f"{settings.FLOWER_URL}/task/{quote(task_id)}"


def runs(entries: list[TimelineEntry], order: Order, step: str) -> list[tuple[str, str]]:
    """(label, link) of every run of a step or of its undo that the history shows, in order."""
    found = []
    for entry in entries:
        if entry.kind != Kind.STEP or entry.name != step:
            continue
        if entry.to_state == StepState.GRANTED:
            found.append((f"e{entry.epoch}", task(f"{order.number}.{step}.e{entry.epoch}")))
        elif entry.to_state == StepState.UNDO_GRANTED:
            found.append((f"undo e{entry.epoch}", task(f"{order.number}.undo_{step}.e{entry.epoch}")))
    return list(dict.fromkeys(found))


def published(delivery: Delivery, order: Order) -> str:
    """The newest message of a delivery."""
    return task(f"{order.number}.{delivery.subscriber}.{delivery.relaunches + 1}")


def everything_of(order: Order) -> str:
    """Flower's task list, searched for this order: its page takes a search from ``name`` and passes on what follows it."""
    mine = f"kwargs:order={order.number}"  # a whole pair is matched exactly: ORD-1081 does not find ORD-10810
    return f"{settings.FLOWER_URL}/tasks?name={quote(f'fulfillment {mine} OR name:sideeffects {mine}')}"
