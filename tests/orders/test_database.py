"""What an error of the database says: asked of a real server, with the errors that it really raises."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from orders import database

Raised = Callable[..., DatabaseError]


@pytest.fixture
def raised(db: None) -> Raised:
    """What the server answers to these statements, run in one transaction."""

    def run(*statements: str) -> DatabaseError:
        with pytest.raises(DatabaseError) as told, transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        return told.value

    return run


def test_a_statement_past_its_limit_was_not_granted_and_is_our_trouble(raised: Raised) -> None:
    error = raised("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(1)")

    assert database.was_not_granted(error) and database.is_our_trouble(error)
    assert not database.is_unusable(error)


def test_a_session_that_takes_no_writes_is_unusable(raised: Raised) -> None:
    error = raised("SET TRANSACTION READ ONLY", "UPDATE orders_order SET status = status")

    assert database.sqlstate(error) == "25006"
    assert database.is_unusable(error) and database.is_our_trouble(error)


def test_a_broken_constraint_is_a_fault_of_the_code(raised: Raised) -> None:
    error = raised("INSERT INTO orders_product (sku, name, price_minor, currency, is_active) VALUES ('a', 'A', 0, 'EUR', true)")

    assert isinstance(error, IntegrityError)
    assert not database.is_our_trouble(error)


def test_an_error_of_another_kind_is_not_ours() -> None:
    assert not database.is_our_trouble(ValueError("no database"))
    assert database.sqlstate(ValueError()) == ""


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        ("FATAL:  sorry, too many clients already", "its connections are all taken"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "its connections are all taken"),
        ("FATAL:  the database system is starting up", "wait"),
        ('FATAL:  password authentication failed for user "shop"', "set DATABASE_URL"),
        ("connection refused", "start it"),
    ],
)
def test_what_to_do_about_a_server_that_lets_nobody_in_is_in_its_own_words(said: str, to_do: str) -> None:
    """I am not told to start a server that runs."""
    assert database.advice(OperationalError(f'connection to server on socket "x" failed: {said}')).startswith(to_do)
