"""Links to an order's tasks in Flower, whose ids say what they are: ``ORD-1043.payment.e1``. A link is stable while Flower remembers the task."""

from urllib.parse import quote

from django.conf import settings

from fulfillment.engine import run_name
from fulfillment.engine.action import STEP_STATES, ActionState
from fulfillment.models import StepState
from orders.models import Order
from orders.timeline import EntryKind, TimelineEntry
from sideeffects.models import Delivery


def task(task_id: str) -> str:
    return f"{settings.FLOWER_URL}/task/{quote(task_id)}"


def runs(entries: list[TimelineEntry], order: Order, step: str) -> list[tuple[str, str]]:
    """(label, link) of every run of a step or of its compensation that the history shows, in order. A chain that was published again has other ids from there on."""
    found, epoch, again, compensating = [], 0, 0, False
    for entry in entries:
        if entry.kind not in (EntryKind.STEP, EntryKind.RELAUNCH):
            continue
        if entry.epoch != epoch:
            epoch, again = entry.epoch, 0
        again += entry.kind == EntryKind.RELAUNCH
        if entry.name != step or (entry.kind == EntryKind.STEP and entry.to_state not in STEP_STATES[ActionState.SCHEDULED]):
            continue
        compensating = compensating if entry.kind == EntryKind.RELAUNCH else entry.to_state == StepState.COMPENSATION_SCHEDULED
        run = run_name(epoch, again)
        found.append((f"undo {run}" if compensating else run, task(f"{order.number}.{'compensate_' if compensating else ''}{step}.{run}")))
    return list(dict.fromkeys(found))


def published(delivery: Delivery, order: Order) -> str:
    """The newest message of a delivery."""
    return task(f"{order.number}.{delivery.subscriber}.{delivery.relaunches + 1}")


def everything_of(order: Order) -> str:
    """Flower's task list, searched for this order: its page takes a search from ``name`` and passes on what follows it."""
    mine = f"kwargs:order={order.number}"  # a whole pair is matched exactly: ORD-1081 does not find ORD-10810
    return f"{settings.FLOWER_URL}/tasks?name={quote(f'fulfillment {mine} OR name:sideeffects {mine}')}"
