"""Doubt: the worker of a try is gone, or takes too long. The try may have had its effect, and the journal says so: in doubt, and never "failed"."""

from typing import Any

from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.journal import because, move, save
from fulfillment.models import Saga

STOPPED = "The worker stopped before an answer came"


def put_in_doubt(saga: Saga, action: Action, columns: dict[str, Any]) -> None:
    """Under a new epoch: whoever may still run this try is fenced. ``columns``: what else changes on the action."""
    saga.epoch += 1
    move(saga, action, ActionState.IN_DOUBT, **columns, claim=None, **because("stopped", STOPPED))
    save(saga, epoch=saga.epoch)
