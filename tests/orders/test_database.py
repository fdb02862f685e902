"""What an error of the database says: asked of a real server, with the errors that it really raises."""

from collections.abc import Callable

import psycopg
import pytest
from django.db import DatabaseError, Error, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.utils import DatabaseErrorWrapper

from orders import database

Raised = Callable[..., DatabaseError]


@pytest.fixture
def raised(db: None) -> Raised:
    """What the server answers to these statements, run in one transaction."""

    def run(*statements: str) -> DatabaseError:
        with pytest.raises(DatabaseError) as raised, transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        return raised.value

    return run


def test_a_statement_past_its_limit_is_a_timeout_and_is_our_trouble(raised: Raised) -> None:
    error = raised("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(1)")

    assert database.is_timeout(error) and database.is_our_trouble(error)
    assert not database.is_unusable(error)


def test_a_session_that_takes_no_writes_is_unusable(raised: Raised) -> None:
    error = raised("SET TRANSACTION READ ONLY", "UPDATE orders_order SET status = status")

    assert database.sqlstate(error) == "25006"
    assert database.is_unusable(error) and database.is_our_trouble(error)


def test_a_broken_constraint_is_a_fault_of_the_code(raised: Raised) -> None:
    error = raised("INSERT INTO orders_product (sku, name, price_minor, currency, is_active) VALUES ('a', 'A', 0, 'EUR', true)")

    assert isinstance(error, IntegrityError)
    assert not database.is_our_trouble(error)


def test_answers_that_nobody_has_asked_for_end_a_connection() -> None:
    """A pooling proxy that ends a session may answer a COMMIT twice: what became of it, the journal says."""
    error = as_django_raises(psycopg.InternalError("received 2 results from command 'COMMIT'"))

    assert database.is_unusable(error) and database.is_our_trouble(error)


# Written out, and not taken from the code: one that is missing there is missed here.
ENDS_A_CONNECTION = {
    "25006": "the server takes no writes",
    "25P03": "it stood still in a transaction",
    "25P04": "its transaction took too long",
    "53300": "all connections are taken",
    "57P01": "the server is shut down",
    "57P02": "another process has crashed",
    "57P03": "the server starts up",
    "57P04": "its database was dropped",
    "57P05": "it idled for too long",
    "08000": "no line",
    "08001": "no line could be opened",
    "08003": "the line is gone",
    "08004": "the line was refused",
    "08006": "the line broke",
    "08007": "the line broke in a COMMIT",
    "08P01": "the line says something else",
}
LEAVES_IT = {
    "40001": "a lost race",
    "40P01": "a deadlock",
    "55P03": "a lock that timed out",
    "57014": "a statement past its limit",
    "23505": "a row that is there already",
    "22012": "a division by zero",
    "25001": "a transaction is open",
    "25P02": "the transaction has failed",
    "42P01": "no such table",
    "53100": "the disk is full",
    "53200": "no memory",
    "57000": "somebody has intervened",
    "XX001": "a damaged row",
}


def as_django_raises(raised: psycopg.Error) -> Error:
    with pytest.raises(Error) as wrapped, DatabaseErrorWrapper(connection):
        raise raised
    assert wrapped.value.__cause__ is raised
    return wrapped.value


@pytest.mark.parametrize("code", ENDS_A_CONNECTION, ids=ENDS_A_CONNECTION.get)
def test_a_code_that_ends_a_connection_makes_it_unusable(code: str) -> None:
    """Whoever keeps such a connection refuses every order that comes after it."""
    error = as_django_raises(psycopg.errors.lookup(code)())

    assert database.sqlstate(error) == code
    assert database.is_unusable(error) and database.is_our_trouble(error)
    assert not database.is_timeout(error) and not database.lost_a_race(error)


@pytest.mark.parametrize("code", LEAVES_IT, ids=LEAVES_IT.get)
def test_a_code_that_says_nothing_about_the_connection_leaves_it(code: str) -> None:
    """Also one of the same class, or of the same kind of exception: a connection that works is not thrown away."""
    error = as_django_raises(psycopg.errors.lookup(code)())

    assert database.sqlstate(error) == code
    assert not database.is_unusable(error)


@pytest.mark.parametrize(
    ("raised", "unusable"),
    [
        (psycopg.OperationalError("the connection is lost"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.ProgrammingError("the query has 1 placeholder but 2 parameters were passed"), False),
    ],
    ids=["lost", "closed", "a wrong statement"],
)
def test_an_error_without_a_code_is_judged_by_its_kind(raised: psycopg.Error, unusable: bool) -> None:
    """The server was not heard."""
    error = as_django_raises(raised)

    assert isinstance(error, OperationalError | InterfaceError) is unusable
    assert database.is_unusable(error) is unusable


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
