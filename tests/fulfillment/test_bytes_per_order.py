"""Promise: what an order costs the database's log and its tables, in bytes. Nothing in it depends on time, or on how busy the machine is."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from fulfillment import engine
from fulfillment.models import Saga, StockLevel
from orders.models import Fact, Order, OrderLine
from sideeffects import discovery, relay, tasks

ORDERS = 60
SKUS = [f"TENT-{number}P-GRN" for number in range(8)]
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
WAL_AT_MOST = 19_500  # of one fulfilled order of two lines, with five facts and four side effects, without full-page images
LOGGED = "SELECT wal_bytes FROM pg_stat_get_backend_wal(pg_backend_pid())"
UPDATED = "SELECT pg_stat_get_tuples_updated(%s::regclass), pg_stat_get_tuples_hot_updated(%s::regclass)"


@pytest.fixture
def shop(db: None, monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.setattr(tasks, "publish", lambda messages: [])
    StockLevel.objects.bulk_create(StockLevel(sku=sku, on_hand=1_000_000) for sku in SKUS)
    relay.register(discovery.types(), 1)
    return User.objects.create(username="web-shop")


@transaction.atomic
def placed(client: User, number: int) -> Order:
    columns: dict[str, Any] = {"currency": "EUR", "total_minor": 8420, "payment_token": "tok_ok", "shipping_address": ADDRESS}
    order = Order.objects.create(
        number=f"ORD-{number}",
        client=client,
        idempotency_key=f"6f79f1f4-07ae-56f5-971f-{number:012}",
        digest="d" * 64,
        request_digest="d" * 64,
        customer_email=f"customer{number}@example.com",
        customer_name="Amara Okafor",
        correlation_id=f"646ed4da-9bb9-4c0c-b788-{number:012}",
        **columns,
    )
    for sku in (SKUS[number % 8], SKUS[(number + 1 + number // 8) % 8]):
        OrderLine.objects.get_or_create(order=order, sku=sku, defaults={"name": "A tent for you", "quantity": 1, "unit_price_minor": 4210})
    engine.open_saga(order)
    return order


def fulfilled(order: Order) -> None:
    """What workers do, one after the other."""
    saga = Saga.objects.get(order=order).pk
    payment = engine.start(saga, 1, "payment", compensating=False)
    assert payment is not None
    engine.record_success(payment, {"charge_id": "ch_ddc0286cd067ae0c", "amount_minor": order.total_minor, "currency": "EUR"})
    engine.run_local(saga, 1, "inventory", compensating=False)
    shipping = engine.start(saga, 1, "shipping", compensating=False)
    assert shipping is not None
    engine.record_success(shipping, {"label_id": "lb_ad4470aae706dda7", "tracking": "MO3512266022"})
    fact = Fact.objects.get(order=order, type="order.fulfilled")
    for name in discovery.names():
        assert tasks.TASKS[name](fact=str(fact.pk), order=order.number) == f"{order.number}: delivered"


def fulfil(client: User, first: int, count: int = ORDERS) -> None:
    for number in range(first, first + count):
        fulfilled(placed(client, number))
        if number % 10 == 0:
            relay.owe(None)


def asked(statement: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(statement, values)
        return cursor.fetchone()


@pytest.mark.django_db(transaction=True)
def test_a_fulfilled_order_writes_few_bytes_into_the_log(shop: User, show_figure: Callable[[str], None]) -> None:
    """History, facts and side effects included. The disk is what an order waits for."""
    fulfil(shop, 1000)
    before = asked(LOGGED)[0]

    fulfil(shop, 2000)

    bytes_per_order = int(asked(LOGGED)[0] - before) / ORDERS
    show_figure(f"{bytes_per_order:,.0f} bytes of WAL per fulfilled order, without full-page images")
    assert bytes_per_order < WAL_AT_MOST


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("table", "others"), [("fulfillment_saga", 1), ("fulfillment_steprecord", 0)])
def test_the_updates_of_an_open_saga_write_no_index(shop: User, table: str, others: int) -> None:
    """Only closing a saga takes it out of the indexes of open ones. A page that is full costs another one now and then."""
    updated, hot = asked(UPDATED, table, table)

    fulfil(shop, 1000)

    updated, hot = (now - before for now, before in zip(asked(UPDATED, table, table), (updated, hot), strict=True))
    assert updated > 3 * ORDERS
    assert updated - hot - others * ORDERS < 0.1 * updated
