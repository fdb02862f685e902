"""Which statements wait for the disk. The engine says so in SQL: always, or, in a statement that decides by itself, in its column ``may_be_lost``."""

from typing import Any

SETTING = "synchronous_commit"


def may_be_lost(sql: str, context: dict[str, Any]) -> bool:
    """Of a statement that has just run, seen by an ``execute_wrapper``: its transaction does not wait for the disk."""
    if SETTING not in sql:
        return False
    cursor = context["cursor"].cursor
    columns = [column.name for column in cursor.description or ()]
    if "may_be_lost" not in columns:
        return True
    return bool(cursor.pgresult.ntuples) and cursor.pgresult.get_value(0, columns.index("may_be_lost")) is not None
