"""``/healthz``: this process answers. ``/readyz``: what it needs answers too, and the sweep is alive."""

from typing import Any

import kombu
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from fulfillment import recovery

SWEEP_DEAD_AFTER_S = 30.0


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if the database answers, the broker answers within a second, and the sweep has run in the last 30 seconds; else 503 that says which."""
    age = _sweep_age_s()
    found: dict[str, Any] = {"database": _database_answers(), "broker": _broker_answers(), "sweep_age_s": age}
    ready = found["database"] and found["broker"] and age is not None and age <= SWEEP_DEAD_AFTER_S
    return JsonResponse({"status": "ready" if ready else "not ready"} | found, status=200 if ready else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except DatabaseError:
        connection.close()
        return False


def _sweep_age_s() -> float | None:
    try:
        age = recovery.sweep_age_s()
    except DatabaseError:
        connection.close()
        return None
    return None if age is None else round(age, 1)


def _broker_answers() -> bool:
    """Asked as publishing would ask, and as briefly."""
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    broker: Any = kombu.Connection(
        settings.CELERY_BROKER_URL, transport_options=options, connect_timeout=settings.CELERY_BROKER_CONNECTION_TIMEOUT
    )
    try:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
        if broker.transport.driver_type == "redis":
            broker.default_channel.client.ping()
    except (OperationalError, OSError, *broker.connection_errors):
        return False
    finally:
        broker.release()
    return True
