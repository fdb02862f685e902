"""Which transactions wait for the disk: all, but those that say otherwise here (docs/design.md, the write path)."""

from orders.named_sql import run


def may_be_lost() -> None:
    """The current transaction need not wait for the disk, because losing it only repeats something harmless. PostgreSQL forgets the setting at its end."""
    run("SELECT set_config('synchronous_commit', 'off', true)", {})
