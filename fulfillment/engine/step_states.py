"""Groups of step states, each under one name: granted, started, waiting, done, undone. Every rule that asks for a group asks for it by this name."""

from fulfillment.models import StepState

GRANTED = (StepState.GRANTED, StepState.UNDO_GRANTED)
STARTED = (StepState.STARTED, StepState.UNDO_STARTED)
WAITING = (StepState.RETRY_WAIT, StepState.IN_DOUBT, StepState.UNDO_RETRY_WAIT, StepState.UNDO_IN_DOUBT)
DONE = (StepState.SUCCEEDED, StepState.DONE_BY_HAND, StepState.SKIPPED)
UNDONE = (StepState.UNDONE, StepState.UNDONE_BY_HAND, StepState.NOT_NEEDED)
WALKED = (*UNDONE, StepState.UNDO_FAILED)  # the compensation goes on behind these
