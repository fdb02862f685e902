"""Promise: from the order's page every task of it is one click away, also one that was published again."""

import pytest

from fulfillment import engine, recovery, tasks
from fulfillment.models import Saga
from orders.admin import flower
from orders.models import Order
from tests.fulfillment.conftest import now_due
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga

pytestmark = pytest.mark.django_db


def linked(order: Order, step: str) -> list[str]:
    """The task ids behind the links of a step."""
    return [link.rpartition("/task/")[2] for _, link in flower.runs(list(order.timeline.order_by("id")), order, step)]


def published(saga: int) -> list[str]:
    """The task ids of the chain that the sweep publishes now. Its last message is lost, as far as anybody can tell."""
    now_due(saga)
    Saga.objects.filter(pk=saga).update(launched_at="2020-01-01T00:00Z")
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    return [str(signature.options["task_id"]) for signature in tasks.signatures(launch)]


def test_each_publication_has_ids_of_its_own_and_a_link(order: Order, saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has revoked one has revoked one."""
    monkeypatch.setattr(recovery.inspection, "_may_still_wait_in_its_queue", lambda saga: False)

    again = [published(saga) for _ in range(3)]

    ids = [number for chain in again for number in chain]
    assert len(set(ids)) == len(ids)
    assert [chain[0] for chain in again] == [f"ORD-1.payment.e1.r{number}" for number in (1, 2, 3)]
    assert linked(order, "payment") == ["ORD-1.payment.e1", *(chain[0] for chain in again)]


def test_what_follows_a_publication_is_linked_under_its_ids(order: Order, saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inventory was scheduled while the chain that had been published again ran: it is a task of that chain."""
    monkeypatch.setattr(recovery.inspection, "_may_still_wait_in_its_queue", lambda saga: False)
    (_, inventory, _) = published(saga)
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None

    engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100})

    assert linked(order, "inventory") == [inventory]
