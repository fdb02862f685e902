"""Findings about the database itself: does it answer, is it migrated, and does it take writes?"""

import time
from collections.abc import Iterator

from django.db import DatabaseError, connection

from orders.database import advice, limited, write
from orders.findings import FAIL, OK, WARN, Finding, first_line
from orders.readiness import pending_migrations

SKEW_S = 2.0


def answers(within_s: float) -> Finding:
    """Whether it answers each question within ``within_s`` seconds, whether migrations are missing, and how far its clock is from ours."""
    try:
        version, skew_s, pending = _asked(within_s)
    except DatabaseError as error:
        connection.close()
        return Finding(level=FAIL, what="database", found=f"does not answer: {first_line(error)}", to_do=advice(error))
    found = f"PostgreSQL {version}, {pending} pending migrations, clock skew {abs(skew_s):.1f} s"
    if pending:
        return Finding(level=FAIL, what="database", found=found, to_do="python manage.py migrate")
    if abs(skew_s) > SKEW_S:
        to_do = "set this machine's clock: its logs lie, the shop goes by the database's"
        return Finding(level=WARN, what="database", found=found, to_do=to_do)
    return Finding(level=OK, what="database", found=found)


def _asked(within_s: float) -> tuple[str, float, int]:
    """Version, seconds by which its clock is ahead of ours, pending migrations."""
    with limited(within_s), connection.cursor() as cursor:
        asked = time.time()
        cursor.execute("SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float")
        version, instant = cursor.fetchone()
    skew_s = instant - (asked + time.time()) / 2
    return version.split()[0], skew_s, pending_migrations()


def writes(within_s: float) -> Iterator[Finding]:
    """Says nothing while it takes writes. A server that fails over, or whose disk is full, answers every question and takes no order."""
    try:
        write(within_s)
    except DatabaseError as error:
        to_do = (
            "wait if it fails over; else look at SHOW default_transaction_read_only, its disk, and whether DATABASE_URL names the primary"
        )
        yield Finding(level=FAIL, what="database", found=f"takes no writes: {first_line(error)}", to_do=to_do)
