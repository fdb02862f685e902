"""The finding about crash points: they are for tests, and nothing but a test should arm them."""

from collections.abc import Iterator

from django.conf import settings

from orders.findings import WARN, Finding


def crash_points() -> Iterator[Finding]:
    if settings.CRASH_POINTS is not None:
        found = f"CRASH_POINTS is {settings.CRASH_POINTS}: processes may kill themselves on purpose"
        yield Finding(level=WARN, what="crash points", found=found, to_do="unset CRASH_POINTS, unless this is a test")
