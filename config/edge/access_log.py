"""One line for each answer: method, route, status, client, milliseconds. No path, no query, no address: they may name a person."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from orders.api.problems import CLIENT, ROUTE

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")  # another may be anything
NONE = "-"


def write(environ: Mapping[str, Any], status: int, begun: float) -> None:
    """``begun``: on the monotonic clock. The request id is that of the whole request, as in every line."""
    method = environ.get("REQUEST_METHOD", NONE)
    fields = {
        "method": method if method in METHODS else NONE,
        "route": environ.get(ROUTE, NONE),
        "status": status,
        "client": environ.get(CLIENT, NONE),
        "ms": round((time.monotonic() - begun) * 1000, 1),
    }
    log.info("answered", extra={"fields": fields})
