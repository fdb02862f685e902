"""Two sessions at once."""

from typing import Any

from django.db import transaction

from fulfillment.errors import Unavailable

PAY, DOWN = "payments.sandbox.do", Unavailable("down", code="connect_failed")


def in_one(work: Any, *args: Any, **named: Any) -> Any:
    """In a transaction of its own."""

    def run() -> Any:
        with transaction.atomic():
            return work(*args, **named)

    return run
