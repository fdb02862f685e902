"""The pinned plan: a saga runs its steps as they were when it was opened, with the same providers, whatever was deployed since."""

from collections.abc import Sequence
from typing import Any

from fulfillment.capabilities import Capabilities
from fulfillment.code_release import RELEASE
from fulfillment.engine.action import Action
from fulfillment.gateways import capabilities_of, chosen, exists
from fulfillment.models import Saga, StepRecord
from fulfillment.step import Kind, Step
from fulfillment.steps import known

USUAL = {
    "version": 1,
    "local": False,
    "compensation_blocks": False,
}  # what an entry does not say, if it says a role: each saga has a copy of its plan


def new_plan(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """What a saga keeps of its steps. It is written once, when the saga is opened."""
    return [{name: value for name, value in plan_entry(step).items() if USUAL.get(name) != value} for step in steps]


def plan_entry(step: Step) -> dict[str, Any]:
    """A step as it is today, in full."""
    return {
        "name": step.name,
        "version": step.version,
        "kind": step.kind.value,
        "local": step.local,
        "compensation_blocks": step.compensation_blocks,
        "role": step.role,
        "gateway": chosen(step.role) if step.role else "",
    }


def planned(saga: Saga, name: str) -> dict[str, Any]:
    """The plan's entry for this step. A field that an older plan did not pin is as the step says today."""
    entry: dict[str, Any] = next((entry for entry in saga.plan if entry["name"] == name), {"name": name})
    step = known(name, entry.get("version", 1))
    return (plan_entry(step) if step else {}) | (USUAL if "role" in entry else {}) | entry


def step_of(saga: Saga, name: str) -> Step | None:
    """The code that serves this step of the plan. None: there is none, or it has no gateway for the provider that is pinned."""
    entry = planned(saga, name)
    if entry.get("role") and not exists(entry["role"], entry["gateway"]):
        return None
    return known(name, entry.get("version", 1))


def is_pivot(saga: Saga, action: Action) -> bool:
    return bool(planned(saga, action.name).get("kind") == Kind.PIVOT.value)


def is_local(saga: Saga, action: Action | StepRecord) -> bool:
    return bool(planned(saga, action.name).get("local"))


def capabilities(saga: Saga, action: Action) -> Capabilities | None:
    """The capabilities of the provider that the plan pins. None: the step calls no provider, or this code does not know the provider."""
    entry = planned(saga, action.name)
    return capabilities_of(entry["role"], entry["gateway"]) if entry.get("role") and exists(entry["role"], entry["gateway"]) else None


def is_newer(saga: Saga) -> bool:
    """Newer code has opened the saga, and may follow rules that this code does not know. This code may run a scheduled step; all else is left to the newer code."""
    return saga.release > RELEASE
