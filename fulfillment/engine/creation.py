"""Creation: a saga is opened in the transaction that creates its order, with its plan pinned and its first step scheduled. No order is placed without it."""

from fulfillment import keys
from fulfillment.clock import ShopNow, in_seconds, patience_s, saga_deadline
from fulfillment.code_release import RELEASE
from fulfillment.crashpoints import crash_point
from fulfillment.engine.launch import Launch
from fulfillment.engine.pinned_plan import plan_entry
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.steps import STEPS
from orders.models import Order, Status
from orders.timeline import EntryKind, TimelineEntry


def open_saga(order: Order) -> Launch:
    """Open the saga in the caller's transaction, which is the one that creates the order. The caller publishes the result on commit."""
    plan = [plan_entry(step) for step in STEPS]
    saga = Saga.objects.create(
        order=order,
        nonce=keys.new_nonce(),
        plan=plan,
        release=RELEASE,
        wake_at=in_seconds(patience_s(0)),
        launched_at=ShopNow(),
        deadline_at=saga_deadline(),
    )
    first = STEPS[0].name
    StepRecord.objects.bulk_create(
        StepRecord(
            saga=saga,
            position=position,
            name=step.name,
            do_key=keys.do_key(order.number, saga.nonce, step.name),
            **({"state": StepState.SCHEDULED, "scheduled_at": ShopNow()} if step.name == first else {}),
        )
        for position, step in enumerate(STEPS)
    )
    TimelineEntry.objects.bulk_create(
        [
            TimelineEntry(order=order, kind=EntryKind.ORDER, to_state=Status.PLACED, epoch=1, actor=order.client.get_username()),
            TimelineEntry(order=order, kind=EntryKind.SAGA, to_state=SagaState.RUNNING, epoch=1),
            TimelineEntry(
                order=order, kind=EntryKind.STEP, name=first, from_state=StepState.PENDING, to_state=StepState.SCHEDULED, epoch=1
            ),
        ]
    )
    crash_point("open", order.number)
    steps = tuple(step.name for step in STEPS)
    return Launch(saga=saga.pk, epoch=1, order=order.number, compensating=False, steps=steps, correlation_id=order.correlation_id)
