"""Promise: nothing that the core does to an order asks the side effects for anything."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from tests.reconciliation.conftest import shop as shop
from tests.reconciliation.shop import Shop


def test_no_statement_of_an_order_s_fulfilment_touches_a_table_of_the_side_effects(shop: Shop) -> None:
    """Placed, paid, reserved, shipped and published: whoever holds their tables holds up nobody's parcel."""
    said: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        said.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        order = shop.place()

    assert order.status == "fulfilled"
    assert any("orders_fact" in statement for statement in said)
    assert [statement for statement in said if "sideeffects" in statement] == []


def test_no_table_that_the_core_writes_has_a_row_that_side_effects_must_agree_to(db: None) -> None:
    """A foreign key from the core into the side effects' tables would make each of its writes wait for them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid::regclass::text LIKE 'sideeffects%'"
            " AND conrelid::regclass::text NOT LIKE 'sideeffects%'"
        )
        assert cursor.fetchall() == []
