"""Groups of step states, each under one name: scheduled, started, waiting, done, compensated. Every rule that asks for a group asks for it by this name."""

from fulfillment.models import StepState

SCHEDULED = (StepState.SCHEDULED, StepState.COMPENSATION_SCHEDULED)
STARTED = (StepState.STARTED, StepState.COMPENSATION_STARTED)
WAITING = (StepState.RETRY_WAIT, StepState.IN_DOUBT, StepState.COMPENSATION_RETRY_WAIT, StepState.COMPENSATION_IN_DOUBT)
DONE = (StepState.SUCCEEDED, StepState.DONE_BY_HAND, StepState.SKIPPED)
COMPENSATED = (StepState.COMPENSATED, StepState.COMPENSATED_BY_HAND, StepState.NOT_NEEDED)
COMPENSATION_OVER = (*COMPENSATED, StepState.COMPENSATION_FAILED)  # the compensation goes on behind these
