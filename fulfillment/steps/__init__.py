"""The steps of the core, in order. What stands here is what runs; sagas in flight keep the plan that they were opened with."""

from fulfillment.step import Step
from fulfillment.steps.inventory import Inventory
from fulfillment.steps.payment import Payment
from fulfillment.steps.shipping import Shipping

STEPS: tuple[Step, ...] = (Payment(), Inventory(), Shipping())
BY_NAME: dict[str, Step] = {step.name: step for step in STEPS}
