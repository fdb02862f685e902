"""Named SQL: the statements of a hot path stand in one file each, with their reasons, and are run by name, prepared on the server.

A file is divided by lines ``-- name: <name>``. Parameters are written ``%(name)s``.
Outside of a caller's transaction a statement is a transaction of its own, in one round trip. It sets its durability itself, where it may be lost.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

from orders.postgresql.base import DatabaseWrapper

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
PARAMETER = re.compile(r"%\((\w+)\)s")

Row = tuple[Any, ...]
Found = TypeVar("Found", bound=Model)


class NamedSql:
    """The statements of one file. ``fragments``: what is put in for ``{name}``, in every statement. Raises ValueError: two have one name."""

    def __init__(self, path: Path, fragments: Mapping[str, str] | None = None) -> None:
        _, *parts = NAME.split(path.read_text(encoding="utf-8"))
        names, texts = parts[::2], parts[1::2]
        if len(set(names)) < len(names):
            raise ValueError(f"{path.name}: a name stands twice")
        self._statements = {name: _filled(text, fragments or {}) for name, text in zip(names, texts, strict=True)}

    def row(self, name: str, values: Mapping[str, Any]) -> Row | None:
        """The one row that the statement returns. None: it has changed nothing. Raises KeyError: there is no such statement."""
        found = run(self._statements[name], values)
        return found[0] if found else None

    def rows(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        """All rows that the statement returns. Raises KeyError: there is no such statement."""
        return run(self._statements[name], values)


def run(statement: str, values: Mapping[str, Any]) -> list[Row]:
    """A statement that is run again and again and has no file, for example a subscriber's: as one of a file. Returns all its rows."""
    sql, names = _positional(statement)
    return cast(DatabaseWrapper, connection).rows_of_prepared(sql, [values[name] for name in names])


def _filled(text: str, fragments: Mapping[str, str]) -> str:
    """Comments stay in the file."""
    for name, fragment in fragments.items():
        text = text.replace(f"{{{name}}}", fragment)
    return "\n".join(line for line in text.strip().splitlines() if not line.lstrip().startswith("--"))


@functools.cache
def _positional(text: str) -> tuple[str, list[str]]:
    """The statement as the server takes it, and which value is $1, $2, and so on."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    return PARAMETER.sub(lambda parameter: f"${names.index(parameter[1]) + 1}", text), names


def columns(model: type[Model], alias: str) -> str:
    """A fragment: every column of ``model`` from the table with this alias, as ``instance`` reads them."""
    return ", ".join(f"{alias}.{field.column}" for field in model._meta.concrete_fields)


def instance(model: type[Found], values: Sequence[Any]) -> Found:
    """A row of ``model`` as the ORM would have read it. ``values``: of all its ``columns``."""
    fields = model._meta.concrete_fields
    read = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(fields, values, strict=True)
    ]
    return model.from_db(DEFAULT_DB_ALIAS, [field.attname for field in fields], read)
