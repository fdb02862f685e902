"""Promise: while two releases stand side by side, the older one goes on working with the newer one's tables."""

from collections.abc import Iterator

from django.db import models
from django.db.migrations import AddField, RenameField, RenameModel
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

OURS = ("orders", "fulfillment", "sideeffects", "analytics", "loyalty", "email", "recommendations")


def operations() -> Iterator[tuple[str, Operation]]:
    for (app, name), migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        if app in OURS:
            for operation in migration.operations:
                yield f"{app} {name}", operation


def needs_a_value(field: "models.Field[object, object]") -> bool:
    """Whoever inserts a row without it fails."""
    has_default = field.db_default is not models.NOT_PROVIDED or field.many_to_many
    return not field.null and not has_default


def test_old_code_can_insert_rows_without_the_columns_of_newer_code() -> None:
    """A column that a later release adds is nullable, or the database knows its default."""
    added = [
        (where, operation) for where, operation in operations() if isinstance(operation, AddField) and not where.endswith(" 0001_initial")
    ]

    assert needs_a_value(models.IntegerField())
    assert [f"{where}: {one.model_name}.{one.name}" for where, one in added if needs_a_value(one.field)] == []


def test_nothing_is_renamed_under_old_code() -> None:
    """What old code reads and writes by name stays, until no process of it is left."""
    renaming = (RenameField, RenameModel)

    assert [f"{where}: {operation.describe()}" for where, operation in operations() if isinstance(operation, renaming)] == []
