"""The steps of the core, in the order in which they run. Sagas in flight keep the plan that they were opened with."""

from fulfillment.step import Step
from fulfillment.steps.inventory import Inventory
from fulfillment.steps.payment import Payment
from fulfillment.steps.shipping import Shipping

STEPS: tuple[Step, ...] = (Payment(), Inventory(), Shipping())


def known(name: str, version: int = 1) -> Step | None:
    """The step that serves a plan's ``name`` in ``version``. None: this code has none."""
    for step in STEPS:
        if name in (step.name, *step.formerly) and version in (step.version, *step.also_serves):
            return step
    return None


def versions(name: str) -> list[int]:
    """Of a plan's ``name``: those that this code serves."""
    return [version for step in STEPS if name in (step.name, *step.formerly) for version in (step.version, *step.also_serves)]
