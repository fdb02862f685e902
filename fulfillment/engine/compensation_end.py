"""The end of a walk back: the order shows its failure only when every compensation has ended.

"Compensated" is never said while one has failed, or while our ledger still counts money.
"""

from fulfillment import ledger
from fulfillment.clock import ShopNow
from fulfillment.engine import public_events
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, because, move, save, set_order_status
from fulfillment.engine.pinned_plan import planned
from fulfillment.engine.position import compensations
from fulfillment.engine.rolling_deploys import leave_what_follows, may_end
from fulfillment.errors import WATCHED_IN_VAIN
from fulfillment.models import Saga, SagaState
from orders.incidents import IncidentKind
from orders.models import Status
from orders.money import money
from orders.timeline import EntryKind

# Codes of a compensation that has ended, and after which a person must say where the money is.
MONEY_REMAINS = "money_remains"  # our ledger still counts it as captured
PAID_ANOTHER_WAY = "paid_another_way"  # a person has said that it was paid, and the provider has never shown it: nobody has given it back


def end_compensated(saga: Saga) -> None:
    """Nothing is left to compensate: the saga is compensated. It is not while one compensation has failed."""
    if failed := next((action for action in reversed(compensations(saga)) if action.state == ActionState.REJECTED), None):
        park_failed(saga, failed)
    elif not may_end(saga, saga.failure):
        leave_what_follows(saga)
    elif not _parked_over_money(saga):
        append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATED)
        save(saga, state=SagaState.COMPENSATED, wake_at=None, closed_at=ShopNow(), relaunches=0, left_since=None)
        set_order_status(saga, Status(saga.failure), finished_at=ShopNow())
        public_events.order_ended(saga)


def park_failed(saga: Saga, failed: Action) -> None:
    kind = IncidentKind.IN_DOUBT if failed.error_code == WATCHED_IN_VAIN else IncidentKind.COMPENSATION_EXHAUSTED
    park(saga, kind, failed, failed.error_code, failed.error_message)


def _parked_over_money(saga: Saga) -> bool:
    """True: every compensation has ended, and a person must still say where some money is."""
    if unpaid := _with_money_that_remains(saga):
        left = money(ledger.remaining(saga.order_id), saga.order.currency)
        _park_with_money(saga, unpaid, MONEY_REMAINS, f"Every undo has ended, and our ledger says that {left} is still captured")
        return True
    if unseen := next((action for action in reversed(compensations(saga)) if _was_paid_another_way(saga, action)), None):
        message = f"Nothing was given back: the provider shows nothing, and a person has said that it was paid ({unseen.forward.evidence})"
        _park_with_money(saga, unseen, PAID_ANOTHER_WAY, message)
        return True
    return False


def _with_money_that_remains(saga: Saga) -> Action | None:
    """The compensation of the step whose money our ledger still counts as captured, whatever it has answered."""
    if ledger.remaining(saga.order_id) <= 0:
        return None
    actions = compensations(saga)
    return next((action for action in actions if ledger.remaining(saga.order_id, action.name) > 0), actions[-1])


def _was_paid_another_way(saga: Saga, action: Action) -> bool:
    """Only a person has said that it was paid, and its compensation has found nothing.

    What somebody else had given back before was there. What was charged only to burn its key was not.
    """
    if action.state != ActionState.SUCCEEDED or action.forward.receipt is not None or not action.forward.evidence:
        return False
    compensated = action.receipt or {}
    was_there = compensated.get("found_compensated") or (compensated.get("amount_minor") and not compensated.get("burnt"))
    return planned(saga, action.name).get("role") == "payments" and not was_there


def _park_with_money(saga: Saga, action: Action, code: str, message: str) -> None:
    """The compensation of this step counts as failed, and a person says where the money is."""
    move(saga, action, ActionState.REJECTED, claim=None, **because(code, message))
    park_failed(saga, action)
