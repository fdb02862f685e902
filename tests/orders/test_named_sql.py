"""Named SQL: statements of a file, run by name, prepared on the server."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from orders.named_sql import NamedSql

FILE = """A preface is no statement.
-- name: sum
-- Adds up.
SELECT %(a)s::int + %(b)s::int{also}

-- name: nothing
SELECT 1 WHERE false
"""


def sql(folder: Path, text: str = FILE) -> NamedSql:
    file = folder / "queries.sql"
    file.write_text(text)
    return NamedSql(file, {"also": ", 7"})


@pytest.mark.django_db
def test_a_statement_is_run_by_its_name(tmp_path: Path) -> None:
    assert sql(tmp_path).row("sum", {"a": 1, "b": 2}) == (3, 7)
    assert sql(tmp_path).row("nothing", {}) is None


@pytest.mark.django_db
def test_the_server_keeps_what_is_run_often(tmp_path: Path) -> None:
    statements = sql(tmp_path)
    for number in range(4):
        statements.row("sum", {"a": number, "b": 70_000})
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int + $2::int, 7'")
        assert cursor.fetchone() == (1,)


def test_two_statements_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a name stands twice"):
        sql(tmp_path, FILE + FILE)


@pytest.mark.django_db
def test_who_listens_hears_of_the_cursor_that_runs_where_nobody_listens(tmp_path: Path) -> None:
    """One cursor for all statements of a session. On another one, tests and the simulation would not show what it remembers."""
    statements = sql(tmp_path)
    heard: list[Any] = []

    def hears(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        heard.append(context["cursor"].cursor)
        return execute(statement, params, many, context)

    statements.row("nothing", {})
    with connection.execute_wrapper(hears):
        assert statements.row("sum", {"a": 1, "b": 2}) == (3, 7)
        assert statements.row("nothing", {}) is None

    assert statements.row("sum", {"a": 2, "b": 2}) == (4, 7)
    assert heard == [vars(connections["default"])["_prepared"]] * 2
    assert not heard[0].closed
