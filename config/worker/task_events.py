"""Which kinds of tasks send events: TASK_EVENTS. What sends none is not shown by Flower, and costs nothing there.

It is Celery's own switch, the attribute ``send_events`` of a task, set through Celery's own ``task_annotations``.
"""

from typing import Any

from celery import Task
from django.conf import settings


def kind_of(task: str) -> str:
    """One of ``settings.KINDS_OF_TASKS``."""
    package, _, name = task.rpartition(".")
    if name == "probe":
        return "probes"
    if package == "sideeffects":
        return "sideeffects"
    return "compensations" if name.startswith("compensate_") else "core"


class TaskEvents:
    """Set by ``task_annotations``."""

    def annotate(self, task: "Task[..., Any]") -> dict[str, bool]:
        return {"send_events": kind_of(str(task.name)) in settings.TASK_EVENTS}
