"""Promise: every limit in seconds is its default times TIME_SCALE, but for those that are never scaled."""

import pytest
from django.conf import settings

SCALED = {
    "CALL_DEADLINE_S": 10, "TASK_SOFT_LIMIT_S": 20, "TASK_HARD_LIMIT_S": 25, "LEASE_S": 30, "PATIENCE_S": 10, "PATIENCE_CAP_S": 300, "BACKOFF_S": 1,
    "BACKOFF_CAP_S": 60, "STEP_DEADLINE_S": 900, "COMPENSATION_DEADLINE_S": 3600, "SAGA_DEADLINE_S": 7200, "UNKNOWN_STEP_AFTER_S": 900,
    "PROVIDER_OUTAGE_LIMIT_S": 14_400, "RECONCILE_EVERY_S": 3600, "DELIVERY_BACKOFF_CAP_S": 900, "DELIVERY_LIMIT_S": 259_200,
    "PROBE_AFTER_S": 10, "PROBE_CAP_S": 300,
    "QUEUE_UNSERVED_LIMIT_S": 3600, "CORE_QUEUE_UNSERVED_LIMIT_S": 300,
}  # fmt: skip
NEVER_SCALED = {"SWEEP_EVERY_S": 1, "KEY_WINDOW_S": 86_400}


@pytest.mark.parametrize("name", SCALED)
def test_a_limit_is_scaled(name: str) -> None:
    """A test, a demo and production differ in one number."""
    assert settings.TIME_SCALE == 0.1
    assert getattr(settings, name) == pytest.approx(SCALED[name] * settings.TIME_SCALE)


@pytest.mark.parametrize("name", NEVER_SCALED)
def test_what_belongs_to_others_is_not(name: str) -> None:
    assert getattr(settings, name) == NEVER_SCALED[name]


def test_what_counts_as_a_jump_of_the_clock_is_less_than_what_a_lease_bears() -> None:
    assert pytest.approx((settings.LEASE_S - settings.TASK_HARD_LIMIT_S) / 2) == settings.CLOCK_TOLERANCE_S
