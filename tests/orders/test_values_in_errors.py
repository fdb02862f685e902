"""Promise: an error of our own database tells which rule was broken, and nothing of the row: it is written into logs, and shown in Flower."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction

from orders.models import Product

SECRET = "amara@example.com"


def duplicate() -> None:
    for _ in range(2):
        Product.objects.create(sku=SECRET, name="x", price_minor=1, currency="EUR")


def breaks_a_rule() -> None:
    Product.objects.create(sku=SECRET, name=SECRET, price_minor=-1, currency="EUR")


def of_another_type() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::integer", [SECRET])


def in_a_wrong_statement() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT no_such_column FROM orders_product WHERE sku = '{SECRET}'")


def in_a_function() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN PERFORM 1 / 0 WHERE '{SECRET}' <> ''; END $$")


@pytest.mark.django_db
@pytest.mark.parametrize("fails", [duplicate, breaks_a_rule, of_another_type, in_a_wrong_statement, in_a_function])
def test_an_error_of_the_database_shows_no_value(fails: Callable[[], None]) -> None:
    """My address stands in no traceback."""
    with pytest.raises(DatabaseError) as error, transaction.atomic():
        fails()

    assert str(error.value).strip()
    assert SECRET not in str(error.value)
    assert SECRET not in str(error.value.__cause__)


@pytest.mark.django_db
def test_it_still_names_the_rule() -> None:
    with pytest.raises(DatabaseError, match='violates check constraint "product_price_positive"'), transaction.atomic():
        breaks_a_rule()


@pytest.mark.django_db
def test_the_servers_own_log_shows_no_value() -> None:
    """Its settings, of the embedded server: docs/deploying.md names them for a server of one's own."""
    wanted = {
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length_on_error": "0",
        "unix_socket_permissions": "0700",
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(wanted)])
        assert dict(cursor.fetchall()) == wanted
