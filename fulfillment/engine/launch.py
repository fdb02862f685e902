"""A launch: one chain of tasks that is to be published. Publishing it twice, late or never changes no outcome, only when it comes."""

import itertools
from dataclasses import dataclass, field

from fulfillment.engine.action import OVER, ActionState
from fulfillment.engine.pinned_plan import step_of
from fulfillment.engine.position import current_action, walk
from fulfillment.models import Saga


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The tasks named after ``steps``, forward or ``compensating``, under ``epoch``. ``again``: how often this epoch was published before. ``correlation_id``: the
    order's.
    """

    saga: int
    epoch: int
    order: str
    compensating: bool
    steps: tuple[str, ...]
    again: int = 0
    correlation_id: str = field(default="", compare=False)

    @property
    def run(self) -> str:
        """The end of its task ids. Each publication has ids of its own, because workers discard for ever, and silently, a task whose id was revoked."""
        return run_name(self.epoch, self.again)


def run_name(epoch: int, again: int) -> str:
    """e1; or e1.r2 where the same epoch is published again for the second time."""
    return f"e{epoch}.r{again}" if again else f"e{epoch}"


def launch_of(saga: Saga, again: int = 0) -> Launch | None:
    """What is left to do, as one chain. None: nothing may start. It ends before a step that this code does not serve: Celery drops such a task silently."""
    at = current_action(saga)
    if at is None or at.state != ActionState.SCHEDULED:
        return None
    names = [action.name for action in walk(saga) if action.state not in OVER]
    able = tuple(itertools.takewhile(lambda name: step_of(saga, name) is not None, names))
    if not able:
        return None
    order = saga.order
    return Launch(
        saga=saga.pk,
        epoch=saga.epoch,
        order=order.number,
        compensating=at.is_compensation,
        steps=able,
        again=again,
        correlation_id=order.correlation_id,
    )
