"""Named SQL: the statements of a hot path stand in one file each, with their reasons, and are run by name, prepared on the server.

A file is divided by lines ``-- name: <name>``. Parameters are written ``%(name)s``.
Outside of a caller's transaction a statement is a transaction of its own, in one round trip. It sets its durability itself, where it may be lost.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from django.db import connection

from orders.postgresql.base import DatabaseWrapper

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
PARAMETER = re.compile(r"%\((\w+)\)s")

Row = tuple[Any, ...]


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
        with cast(DatabaseWrapper, connection).prepared_cursor() as cursor:
            sql, names = _positional(self._statements[name])
            cursor.execute(sql, [values[name] for name in names])
            found: Row | None = cursor.fetchone()
        return found


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
