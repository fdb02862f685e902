"""Which transactions wait for the disk: all, but those that say otherwise here (docs/design.md, the write path)."""

from django.db import connection


def may_be_lost() -> None:
    """The current transaction need not wait for the disk, because losing it only repeats something harmless. PostgreSQL forgets the setting at its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', 'off', true)")
