"""Promise: people can read what only newer code writes, and other steps are another release."""

from typing import Any

import pytest
from django.db import connection

from fulfillment import checks, engine, plans, recovery
from fulfillment.code_release import RELEASE
from fulfillment.engine.pinned_plan import plan_entry
from fulfillment.explanation import explain
from fulfillment.models import Saga, StepRecord
from fulfillment.steps import STEPS
from orders.api import representation as shown
from orders.models import Incident, Order, TimelineEntry
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import paid
from tests.fulfillment.releases.conftest import NEWER, seen

# --- what people read meanwhile --------------------------------------------------------------------------------------------------


def test_why_says_which_release_an_order_waits_for(newer: int, order: Order) -> None:
    paid(newer)
    engine.message_dropped(newer, 1, "gift_wrap")

    explanation = explain(order)

    assert explanation.sentence.startswith(f"Gift_wrap (scheduled) waits for a process of release {NEWER}: since ")
    assert explanation.blocked_on == f"a process of release {NEWER}"
    assert "release" not in explanation.public
    assert shown.why(order)["blocked_on"] == "newer workers", "a client does not know our releases"


@pytest.mark.parametrize("state", ["warehoused", "compensation_warehoused"])
def test_a_state_that_only_newer_code_knows_is_read_all_the_same(newer: int, order: Order, state: str) -> None:
    StepRecord.objects.filter(saga=newer, name="payment").update(state=state)

    explanation = explain(order)

    assert state in explanation.sentence
    assert explanation.public


def test_a_saga_in_a_state_that_only_newer_code_knows_is_read_and_left_alone(newer: int, order: Order) -> None:
    Saga.objects.filter(pk=newer).update(state="on_hold")
    now_due(newer)

    recovery.inspect_saga(newer)

    assert explain(order).sentence
    assert seen(newer).state == "on_hold"


def test_what_only_newer_code_writes_is_shown_by_old_code(newer: int, order: Order, client: Any, admin_user: Any) -> None:
    """A new status, a new kind of history, of incident, of step state: the admin's pages and the API answer, and say what they can."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # newer code has another machine of states
        cursor.execute("UPDATE orders_order SET status = 'on_its_way_back'")
        cursor.execute("SET LOCAL session_replication_role = origin")
    TimelineEntry.objects.create(order=order, kind="inspected", name="gift_wrap", to_state="looked_at")
    Incident.objects.create(order=order, subject="ORD-1", kind="meteorite", currency="EUR", step="gift_wrap", code="iron")
    StepRecord.objects.filter(saga=newer, name="payment").update(state="warehoused")
    client.force_login(admin_user)

    page = client.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    listed = client.get("/admin/orders/order/").content.decode()
    everything = shown.View(tuple(shown.FIELDS), tuple(shown.EXPANSIONS))
    orders = [everything.load(Order.objects.all()).get()]
    (seen_by_client,) = everything.show(orders, everything.expand(orders))

    assert "Gift_wrap looked at" in page
    assert "meteorite" in page
    assert "warehoused" in page
    assert "On its way back" in listed
    assert seen_by_client["status"] == "on_its_way_back"
    assert [group.label for group in recovery.groups()] == ["Meteorite"]


# --- a release that should have been another one -----------------------------------------------------------------------------------

FIRST = "payment v1 (compensable by payments), inventory v1 (compensable local), shipping v1 (pivot compensation_blocks by carrier)"
PINNED = {1: FIRST, 2: FIRST}  # 2: a relay that owes facts by their type takes the turn from one that does not


def test_other_steps_are_another_release() -> None:
    """Whoever adds, renames or changes a step raises RELEASE, and adds a line here; the lines of old releases stay."""
    assert ", ".join(plans.pinned(plan_entry(step)) for step in STEPS) == PINNED[RELEASE]
    assert max(PINNED) == RELEASE


def test_steps_that_changed_under_the_same_release_are_refused(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.release_was_raised(None, databases=["default"]) == []
    monkeypatch.setattr(plans, "STEPS", STEPS[:-1])

    (error,) = checks.release_was_raised(None, databases=["default"])

    assert error.msg == f"The steps have changed, and RELEASE is still {RELEASE}: {PINNED[1]} → {PINNED[1].rpartition(', ')[0]}."
    Saga.objects.update(release=NEWER)
    assert checks.release_was_raised(None, databases=["default"]) == [], "that was another release"
