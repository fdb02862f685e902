"""Forty-two small bugs: thirty in four places where tests were blind once, and twelve where money, people and strangers' words come in
(``input_bugs.py``). Each is one replacement in one file, as a tired person could write it.

The first twenty, five in each place, were planted before the tests there were finished: what they showed was closed. All later ones were planted afterwards.
"""

from tests.planted.bug import ARITHMETIC, AT_ONCE, BOUNDARIES, PAGES, Bug
from tests.planted.input_bugs import INPUT_BUGS

BUGS = (
    # --- the arithmetic of leases, windows and deadlines ---
    Bug(
        name="time that is given back twice counts once",
        blindness=ARITHMETIC,
        file="fulfillment/engine/budget.py",
        search="paused_s=saga.paused_s + time.total_seconds(),",
        replace="paused_s=time.total_seconds(),",
    ),
    Bug(
        name="time that one step was given back stays with the next",
        blindness=ARITHMETIC,
        file="fulfillment/engine/progress.py",
        search="left_since=None, paused_s=0.0)",
        replace="left_since=None)",
    ),
    Bug(
        name="each inspection of who is held begins its hold anew",
        blindness=ARITHMETIC,
        file="fulfillment/engine/circuit_holds.py",
        search="        save(saga, held_by=circuit.name, held_at=shop_now())",
        replace="    save(saga, held_by=circuit.name, held_at=shop_now())",
    ),
    Bug(
        name="a jump of the clock leaves the end of a step's last lease where it was",
        blindness=ARITHMETIC,
        file="fulfillment/recovery/clock_jumps.py",
        search='{_moved("asked_until", "started_at")}, {_moved("compensation_asked_until", "started_at")}',
        replace='{_moved("compensation_asked_until", "started_at")}',
    ),
    Bug(
        name="a stamp proves lost what a busy worker may still hold",
        blindness=ARITHMETIC,
        file="orders/queue_probes.py",
        search="out_at - timedelta(seconds=settings.TASK_HARD_LIMIT_S)",
        replace="out_at - timedelta(seconds=settings.TASK_SOFT_LIMIT_S)",
    ),
    # --- boundaries that move ---
    Bug(
        name="a worker's own lease begins after its start was committed",
        blindness=BOUNDARIES,
        file="fulfillment/tasks.py",
        search="    lease = Lease.begin(lease_s())\n    try:\n        claim = engine.start(saga, epoch, name, compensating, order)\n",
        replace="    try:\n        claim = engine.start(saga, epoch, name, compensating, order)\n        lease = Lease.begin(lease_s())\n",
    ),
    Bug(
        name="a success does not wait for the disk",
        blindness=BOUNDARIES,
        file="fulfillment/engine/tries.py",
        search="    recorded = succeed(saga, action_of(saga, claim), receipt, claim.tries)\n",
        replace="    may_be_lost()\n    recorded = succeed(saga, action_of(saga, claim), receipt, claim.tries)\n",
    ),
    Bug(
        name="subscribers are called before the commit",
        blindness=BOUNDARIES,
        file="sideeffects/tasks.py",
        search="    transaction.on_commit(lambda: publish(messages), robust=True)",
        replace="    publish(messages)",
    ),
    Bug(
        name="a first try outside leaves before its start is written",
        blindness=BOUNDARIES,
        file="sideeffects/delivery_try.py",
        search="    if not subscription.outside and (done := _first_try(subscription, fact_id)):",
        replace="    if done := _first_try(subscription, fact_id):",
    ),
    Bug(
        name="stock leaves in a commit of its own",
        blindness=BOUNDARIES,
        file="fulfillment/engine/progress.py",
        search="    stock.consume(order.number)\n",
        replace="    from django.db import transaction\n\n    transaction.on_commit(lambda: stock.consume(order.number))\n",
    ),
    # --- beyond the first page ---
    Bug(
        name="only the first page of the quarantine is inspected",
        blindness=PAGES,
        file="fulfillment/recovery/quarantine.py",
        search="    while page := _page(now, after):",
        replace="    if page := _page(now, after):",
    ),
    Bug(
        name="a round that was stopped counts as whole",
        blindness=PAGES,
        file="fulfillment/recovery/sweep.py",
        search="        if not may_go_on():\n            return\n",
        replace="        if not may_go_on():\n            break\n",
    ),
    Bug(
        name="what did not fit on the relay's page counts as read",
        blindness=PAGES,
        file="sideeffects/relay/dispatch.py",
        search="        mark.passed(found[-1][1])\n",
        replace="        mark.reached(until)\n",
    ),
    Bug(
        name="the relay goes on behind the facts that it has not relayed",
        blindness=PAGES,
        file="sideeffects/relay/fan_out.py",
        search="marks.relayed = (page[0][1] or 0) if page else last",
        replace="marks.relayed = (page[-1][1] or 0) if page else last",
    ),
    Bug(
        name="numbers are given in the order of the facts' ids",
        blindness=PAGES,
        file="orders/facts.py",
        search='.order_by("at", "id").only("id", "at", "type")',
        replace='.order_by("id").only("id", "at", "type")',
    ),
    # --- two connections at once ---
    Bug(
        name="the outcome of a delivery is recorded without its row's lock",
        blindness=AT_ONCE,
        file="sideeffects/deliveries.py",
        search='deliveries.select_for_update(of=("self",), no_key=True).select_related("fact").first()',
        replace='deliveries.select_related("fact").first()',
    ),
    Bug(
        name="the version is compared before the lock",
        blindness=AT_ONCE,
        file="fulfillment/recovery/decisions.py",
        search="    saga = engine.locking(Saga.objects.filter(order__number=request.order)).first()\n"
        '    if saga is None:\n        raise Refused(f"There is no order {request.order} with a saga.")\n'
        "    if version_of(saga.order_id) != request.version:\n",
        replace="    seen = Saga.objects.filter(order__number=request.order).first()\n"
        "    is_stale = seen is not None and version_of(seen.order_id) != request.version\n"
        "    saga = engine.locking(Saga.objects.filter(order__number=request.order)).first()\n"
        '    if saga is None:\n        raise Refused(f"There is no order {request.order} with a saga.")\n'
        "    if is_stale:\n",
    ),
    Bug(
        name="incidents are resolved without their rows' locks",
        blindness=AT_ONCE,
        file="orders/incidents.py",
        search="closing = list(waiting.select_for_update())",
        replace="closing = list(waiting)",
    ),
    Bug(
        name="a transition locks the order's row too",
        blindness=AT_ONCE,
        file="fulfillment/engine/journal.py",
        search='sagas.select_for_update(of=("self",), skip_locked=skip_locked)',
        replace="sagas.select_for_update(skip_locked=skip_locked)",
    ),
    Bug(
        name="a turn is taken from whoever took it a moment ago",
        blindness=AT_ONCE,
        file="orders/turns.py",
        search="release = excluded.release, until = excluded.until WHERE {_FREE}",
        replace="release = excluded.release, until = excluded.until",
    ),
    # --- planted after the tests had been written for what the first twenty had shown ---
    Bug(
        name="a sweep that has just begun waits for a whole lease again at each inspection",
        is_later=True,
        blindness=ARITHMETIC,
        file="fulfillment/engine/resumption.py",
        search="save(saga, wake_at=in_seconds(lease_s() - calm_s))",
        replace="save(saga, wake_at=in_seconds(lease_s()))",
    ),
    Bug(
        name="who is held by somebody is left alone for twice as long",
        is_later=True,
        blindness=ARITHMETIC,
        file="fulfillment/recovery/sweep_memory.py",
        search="doubled(settings.BACKOFF_S, times - 1, settings.BACKOFF_CAP_S)",
        replace="doubled(settings.BACKOFF_S, times, settings.BACKOFF_CAP_S)",
    ),
    Bug(
        name="the relay asks after a message when patience is at its cap",
        is_later=True,
        blindness=ARITHMETIC,
        file="sideeffects/tasks.py",
        search=".total_seconds() > settings.PATIENCE_S:",
        replace=".total_seconds() > settings.PATIENCE_CAP_S:",
    ),
    Bug(
        name="the fact is published to subscribers before it is recorded",
        is_later=True,
        blindness=BOUNDARIES,
        file="fulfillment/engine/public_events.py",
        search="        facts.record(event, order.pk, order.correlation_id)\n        facts.announce(event)\n",
        replace="        from django.db import transaction\n\n        facts.announce(event)\n"
        "        transaction.on_commit(lambda: facts.record(event, order.pk, order.correlation_id))\n",
    ),
    Bug(
        name="a saga leaves the quarantine before the inspection that may fail",
        is_later=True,
        blindness=BOUNDARIES,
        file="fulfillment/recovery/sweep.py",
        search="        launch = inspect_saga(saga.saga, memory.watch, WAIT_BRIEFLY if saga.saga in memory.aside else WAIT_FOR_A_ROW)\n"
        "        if saga.again:\n            quarantine.release(saga.saga, saga.order)\n",
        replace="        if saga.again:\n            quarantine.release(saga.saga, saga.order)\n"
        "        launch = inspect_saga(saga.saga, memory.watch, WAIT_BRIEFLY if saga.saga in memory.aside else WAIT_FOR_A_ROW)\n",
    ),
    Bug(
        name="what lies behind the mark is read once and never again",
        is_later=True,
        blindness=PAGES,
        file="orders/lowwater.py",
        search="self._slice_from = None if up_to >= self.since else up_to",
        replace="self._slice_from = up_to",
    ),
    Bug(
        name="one a round of those who wake up too late",
        is_later=True,
        blindness=PAGES,
        file="fulfillment/recovery/sweep.py",
        search='.order_by("due_from").values_list("id", "order_id")[:BATCH]:',
        replace='.order_by("due_from").values_list("id", "order_id")[:1]:',
    ),
    Bug(
        name="a try that failed is written down while its twin delivers",
        is_later=True,
        blindness=AT_ONCE,
        file="sideeffects/deliveries.py",
        search="    if is_being_delivered(delivery.fact_id, delivery.subscriber):\n        return None\n",
        replace="",
    ),
    Bug(
        name="who subscribes is written down without a lock",
        is_later=True,
        blindness=AT_ONCE,
        file="sideeffects/relay/subscriber_registration.py",
        search="row for row in Subscriber.objects.select_for_update()",
        replace="row for row in Subscriber.objects.all()",
    ),
    Bug(
        name="the older of two stamps has the last word",
        is_later=True,
        blindness=AT_ONCE,
        file="orders/queue_probes.py",
        search='then=Greatest("out_at", Value(stamp))',
        replace="then=Value(stamp)",
    ),
    *INPUT_BUGS,
)
