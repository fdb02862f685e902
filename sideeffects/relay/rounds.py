"""One round of the relay: facts are fanned out, and the messages that are due are published."""

from collections.abc import Callable

from orders import queue_probes
from sideeffects import deliveries, delivery_try, discovery, tasks
from sideeffects.deliveries import Failure
from sideeffects.relay import dispatch, fan_out
from sideeffects.relay.marks import Marks

LAUNCHES_A_ROUND, PAGES_A_ROUND = 500, 20  # they bound a round: the relay gives no heartbeat for a few seconds at most, whatever is due


def run_round(may_go_on: Callable[[], bool], marks: Marks | None = None) -> int:
    """Record what is owed, then publish at most 500 messages, then send a probe if one is wanted. Returns how many messages were published."""
    marks = marks or Marks()
    lost_before = queue_probes.lost_before(tasks.QUEUE)
    for _ in range(PAGES_A_ROUND):
        if not may_go_on() or not fan_out.owe(lost_before, marks):
            break
    ahead = dispatch.inspect_circuits(discovery.names(), marks)
    dispatch.not_published(tasks.publish(ahead))
    launched = len(ahead)
    known = [name for name in discovery.names() if name not in marks.at_work]
    while launched < LAUNCHES_A_ROUND and may_go_on():
        messages = dispatch.due(known, lost_before, after_loss, marks)
        left = tasks.publish(messages)
        launched += len(messages) - len(left)
        if left:
            dispatch.not_published(left)
        if left or not messages:
            break
    tasks.probe_the_queue(dispatch.waits_since(marks))
    return launched


def anything_due(marks: Marks) -> bool:
    """Whether a round would find something now. One statement, for a shop in which nothing happens."""
    row = deliveries.SQL.row(
        "anything_due",
        {"numbered": marks.unnumbered.since or "-infinity", "relayed": marks.relayed, "due": marks.due.since or "-infinity"},
    )
    return row == (True,)


def after_loss(subscriber: str, tries: int) -> Failure:
    """What follows when the worker of this try was lost."""
    return delivery_try.after_loss(discovery.subscriptions()[subscriber], tries)
