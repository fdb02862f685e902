"""``/healthz``: this process answers. ``/readyz``: what it needs answers too, the sweep is alive, and no queue has gone silent."""

from collections.abc import Callable
from typing import Any, TypeVar

import kombu
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from fulfillment import recovery

SWEEP_DEAD_AFTER_S = 30.0
QUEUE_SILENT_AFTER_S = 30.0

Found = TypeVar("Found")


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if the database answers, the broker answers within a second, the sweep has run in the last 30 seconds, and every queue that was probed has let
    something out in the last 30 seconds; else 503 that says which. ``queues``: seconds of silence.
    """
    age, queues = _asked(recovery.sweep_age_s), _asked(recovery.unanswered_for_s) or {}
    found: dict[str, Any] = {
        "database": _database_answers(),
        "broker": broker_answers(),
        "sweep_age_s": age and round(age, 1),
        "queues": queues,
    }
    is_swept = age is not None and age <= SWEEP_DEAD_AFTER_S
    ready = found["database"] and found["broker"] and is_swept and max(queues.values(), default=0.0) <= QUEUE_SILENT_AFTER_S
    return JsonResponse({"status": "ready" if ready else "not ready"} | found, status=200 if ready else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except DatabaseError:
        connection.close()
        return False


def _asked(question: Callable[[], Found]) -> Found | None:
    """None where the database does not answer."""
    try:
        return question()
    except DatabaseError:
        connection.close()
        return None


def broker_answers() -> bool:
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
