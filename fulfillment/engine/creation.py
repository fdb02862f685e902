"""Creation: a saga is opened in the transaction that creates its order, with its plan pinned and its first step scheduled. No order is placed without it."""

from fulfillment import keys
from fulfillment.crashpoints import crash_point
from fulfillment.engine import hot_path, public_events
from fulfillment.engine.launch import Launch
from fulfillment.engine.pinned_plan import new_plan
from fulfillment.steps import STEPS
from orders import facts
from orders.models import Order


def open_saga(order: Order) -> Launch:
    """Open the saga in the caller's transaction, which is the one that creates the order. The caller publishes the result on commit."""
    nonce = keys.new_nonce()
    event = public_events.created(order)
    saga = hot_path.open_saga(order, nonce, new_plan(STEPS), [keys.do_key(order.number, nonce, step.name) for step in STEPS], event)
    facts.announce(event)
    crash_point("open", order.number)
    steps = tuple(step.name for step in STEPS)
    return Launch(saga=saga, epoch=1, order=order.number, compensating=False, steps=steps, correlation_id=order.correlation_id)
