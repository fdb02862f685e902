"""The shop's clock in a test's hand: it stands still until the test moves it, so what production computes can be compared to the microsecond.

Nothing is handed in and nothing is overwritten: rows are written by the engine at one instant and judged by it at another.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection

BEGIN = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)

# Each is a number of its own, so that no limit can stand in for another one unnoticed.
LIMITS_S = {
    "LEASE_S": 31.0,
    "TASK_HARD_LIMIT_S": 23.0,
    "PATIENCE_S": 11.0,
    "PATIENCE_CAP_S": 307.0,
    "BACKOFF_S": 1.5,
    "BACKOFF_CAP_S": 59.0,
    "STEP_DEADLINE_S": 907.0,
    "COMPENSATION_DEADLINE_S": 3607.0,
    "SAGA_DEADLINE_S": 7207.0,
    "UNKNOWN_STEP_AFTER_S": 911.0,
    "PROVIDER_OUTAGE_LIMIT_S": 14_411.0,
    "RECONCILE_EVERY_S": 3613.0,
    "PROBE_AFTER_S": 13.0,
    "PROBE_CAP_S": 311.0,
    "DELIVERY_BACKOFF_CAP_S": 887.0,
    "DELIVERY_LIMIT_S": 259_213.0,
}


class ShopClock:
    """``shop_now()`` of this test's own connection."""

    def __init__(self) -> None:
        self.now = BEGIN
        self._publish(self.now.isoformat())

    def passes(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        self._publish(self.now.isoformat())
        return self.now

    def until(self, instant: datetime | None, seconds: float = 0.0) -> None:
        """Exactly then, or so many seconds after it."""
        assert instant is not None
        self.passes((instant - self.now).total_seconds() + seconds)

    def left(self, instant: datetime | None) -> float | None:
        """Seconds until then; None: never."""
        return None if instant is None else (instant - self.now).total_seconds()

    def let_go(self) -> None:
        self._publish("")

    def _publish(self, instant: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('shop.now', %s, false)", [instant])
