"""What a worker's main process does about a task that did not come to its end: it was killed at its time limit, or its process has died.

Its lines, and the errback that it publishes, belong to the request that has placed the order, as those of the task itself do.
"""

from contextlib import AbstractContextManager
from typing import Any

from celery.worker import request

from orders import tracing

PlainRequest: Any = request.Request


class Request(PlainRequest):
    """Set as ``Request`` of every task."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        with self._traced():
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        with self._traced():
            return super().on_failure(exc_info, send_failed_event, return_ok)

    def _traced(self) -> AbstractContextManager[None]:
        return tracing.traced(correlation_id_of(self.request_dict))


def correlation_id_of(headers: Any) -> str:
    """Of whatever has published the message; else the id of the first task. Empty: it has neither."""
    known = headers if isinstance(headers, dict) else {}
    return str(known.get("x_cid") or known.get("root_id") or "")[: tracing.LONGEST]
