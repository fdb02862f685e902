"""Promise: a transition writes one row of history, and everybody reads each of its changes as an entry; older code too, by the name that it knows."""

import pytest
from django.db import connection

from fulfillment import engine
from orders.models import Order, Status
from orders.timeline import HistoryRow, RowKind, TimelineEntry

OLD_INSERT = """
INSERT INTO orders_timelineentry (order_id, kind, name, from_state, to_state, epoch, code, detail, actor)
VALUES (%s, 'delivery', 'email', '', 'delivered', 0, '', '{}', '') RETURNING id
"""


def fulfil(saga: int) -> None:
    for name, receipt in (
        ("payment", {"charge_id": "ch_1", "amount_minor": 100, "currency": "EUR"}),
        ("shipping", {"label_id": "l", "tracking": "t"}),
    ):
        claim = engine.start(saga, 1, name, compensating=False)
        assert claim is not None
        engine.record_success(claim, receipt)
        if name == "payment":
            engine.run_local(saga, 1, "inventory", compensating=False)


def test_an_order_that_meets_no_trouble_has_a_row_for_each_transition_and_an_entry_for_each_change(saga: int, order: Order) -> None:
    fulfil(saga)

    rows, entries = HistoryRow.objects.filter(order=order), list(TimelineEntry.objects.filter(order=order))

    assert set(RowKind.values) <= {row.kind for row in rows}
    assert len(rows) == 6
    assert [f"{entry.kind} {entry.name}: {entry.from_state} > {entry.to_state}" for entry in entries] == [
        "order :  > placed",
        "saga :  > running",
        "step payment: pending > scheduled",
        "step payment: scheduled > started",
        "order : placed > processing",
        "step payment: started > succeeded",
        "step inventory: pending > scheduled",
        "step inventory: scheduled > succeeded",
        "step shipping: pending > scheduled",
        "step shipping: scheduled > started",
        "step shipping: started > succeeded",
        "saga : running > completed",
        "order : processing > fulfilled",
    ]
    assert not any(entry.code for entry in entries)
    assert len({entry.pk for entry in entries}) == len(entries)


def test_old_code_writes_entries_by_the_name_that_it_knows(saga: int, order: Order) -> None:
    """In a rolling deploy an old worker goes on delivering."""
    with connection.cursor() as cursor:
        cursor.execute(OLD_INSERT, [order.pk])
        (written,) = cursor.fetchone()

    entry = TimelineEntry.objects.get(order=order, kind="delivery")

    assert (entry.pk, entry.name, entry.to_state, entry.at is not None) == (written, "email", "delivered", True)
    assert list(HistoryRow.objects.filter(order=order).values_list("pk", flat=True))[-1] == written


@pytest.mark.parametrize("status", [Status.FULFILLED, Status.CANCELLED])
def test_whoever_ends_an_order_makes_it_found_as_ended(saga: int, order: Order, status: Status) -> None:
    """Older code, and a person with SQL, know nothing of the columns that the indexes have."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET status = 'processing' WHERE id = %s", [order.pk])
    assert Order.objects.filter(Status.PROCESSING.condition).get() == order

    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET status = %s WHERE id = %s", [status.value, order.pk])

    found = Order.objects.filter(status.condition).get()
    assert found == order
    assert found.settled_at == found.updated_at
