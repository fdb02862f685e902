"""Lost messages: a broker that was wiped has lost a thousand at once. What is plain about them is published again by the page, in one transaction.

Plain: the saga goes forward, its step was scheduled and never started, its message is proved lost, and nothing else is to be said about it. All else is left to
``resumption.inspect_saga``. tests/fulfillment/test_lost_messages.py proves that both write the same rows.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from psycopg.types.json import Jsonb

from fulfillment import circuit as circuits
from fulfillment import gateways
from fulfillment.code_release import RELEASE
from fulfillment.engine.action import STEP_STATES, ActionState
from fulfillment.engine.budget import LATE_AFTER_S, most_given_back
from fulfillment.engine.launch import Launch
from fulfillment.engine.position import direction
from fulfillment.engine.transition import transition
from fulfillment.named_statements import SQL
from fulfillment.steps import STEPS
from orders.durability import may_be_lost

WOKEN = 1_000  # at once
PLAIN = 3  # relaunches without progress. Then the saga is read as a whole, so that what cannot be read of it is noticed


@transition
def relaunch_all(sagas: Collection[int], lost_before: datetime | None) -> list[Launch]:
    """Those of ``sagas`` that are plain, each to be published again, in this sequence. A locked row is passed.

    ``lost_before``: a message of the queue "saga" that was published before it cannot be in the queue any more. None: nobody knows. One that the broker never took
    is lost whatever this says.
    """
    locked = SQL.rows(
        "lock_lost", {"sagas": list(sagas), "lost_before": lost_before, "release": RELEASE, "plain": min(PLAIN, settings.POISON_AFTER)}
    )
    if not locked:
        return []
    again = SQL.rows(
        "relaunch",
        {
            "sagas": [saga for (saga,) in locked],
            "served": Jsonb(_served()),
            "operation": circuits.DO,
            "late_after": timedelta(seconds=LATE_AFTER_S),
            "most": most_given_back(),
            "patience_s": settings.PATIENCE_S,
            "cap_s": settings.PATIENCE_CAP_S,
        },
    )
    places = {saga: place for place, saga in enumerate(sagas)}
    return [
        Launch(saga=saga, epoch=epoch, order=number, compensating=False, steps=tuple(names), again=times, correlation_id=correlation_id)
        for saga, epoch, number, names, correlation_id, times in sorted(again, key=lambda row: places[row[0]])
    ]


@transition
def wake_lost(compensating: bool, lost_before: datetime) -> int:
    """Those whose message is proved lost, and that are past their patience, are due now, at most ``WOKEN`` of them. Returns how many. A locked row is passed.

    They were put off while nobody could say what had become of their message (``backlog``).
    """
    may_be_lost()
    values = {
        "failed": compensating,
        "lost_before": lost_before,
        "scheduled": STEP_STATES[ActionState.SCHEDULED][compensating].value,
        "state": direction(compensating).value,
        "patience_s": settings.PATIENCE_S,
        "cap_s": settings.PATIENCE_CAP_S,
        "most": WOKEN,
        "release": RELEASE,
    }
    return len(SQL.rows("wake_lost", values))


def _served() -> dict[str, int]:
    """What this code serves of each step, as a plan pins it (``name.version.role.gateway``) → how often it may be tried."""
    return {
        f"{name}.{version}.{role}.{gateway}": step.tries or settings.STEP_TRIES
        for step in STEPS
        for name in (step.name, *step.formerly)
        for version in (step.version, *step.also_serves)
        for role, gateway in (("", ""), *gateways.all_of_them())
    }
