"""The client history: each request of a client with its answer, and when both were. A checker that knows only this shares no mistake with the shop."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request. ``begun`` and ``ended`` are seconds of one monotonic clock. ``status`` is None where the answer was lost; what stands below it is then empty.

    ``cancel``: what a cancel was answered ("too_late" for its 409). ``entries``: how long the order's history was. Of an order that was placed: ``answer`` is the
    digest of the whole body, ``replayed`` whether it was marked as the answer to a repeated request.
    """

    method: str
    path: str
    key: str = ""
    digest: str = ""
    begun: float
    ended: float
    status: int | None = None
    number: str = ""
    order_status: str = ""
    cancel: str = ""
    total_minor: int | None = None
    entries: int | None = None
    answer: str = ""
    replayed: bool = False

    @property
    def asked_number(self) -> str:
        """The order that the path names; empty for a request that places one."""
        words = self.path.partition("/orders/")[2].split("/")
        return words[0]


class Recording(httpx.BaseTransport):
    """Passes every request on and writes down what became of it."""

    def __init__(self, history: list[Exchange]) -> None:
        self._history = history
        self._inner = httpx.HTTPTransport(limits=LIMITS, verify=False)  # plain HTTP: no certificates to load

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        begun = time.monotonic()
        try:
            answer = self._inner.handle_request(request)
            answer.read()
        except httpx.TransportError:
            self._history.append(_lost(request, begun))
            raise
        self._history.append(_answered(request, begun, answer))
        return answer

    def close(self) -> None:
        self._inner.close()


def _asked(request: httpx.Request, begun: float) -> dict[str, Any]:
    body = request.read()
    return {
        "method": request.method,
        "path": request.url.path,
        "key": request.headers.get("Idempotency-Key", ""),
        "digest": _digest(body) if body else "",
        "begun": begun,
        "ended": time.monotonic(),
    }


def _lost(request: httpx.Request, begun: float) -> Exchange:
    return Exchange(**_asked(request, begun))


def _answered(request: httpx.Request, begun: float, answer: httpx.Response) -> Exchange:
    document = _document(answer)
    seen: dict[str, Any] = {"status": answer.status_code}
    if answer.is_success and "number" in document:
        timeline = document.get("timeline")
        seen |= {
            "number": document["number"],
            "order_status": document.get("status", ""),
            "cancel": document.get("cancel", ""),
            "total_minor": document.get("total_minor"),
            "entries": None if timeline is None else len(timeline),
        }
        if answer.status_code == httpx.codes.CREATED:
            seen |= {"answer": _digest(answer.content), "replayed": answer.headers.get("Idempotent-Replayed") == "true"}
    elif request.url.path.endswith("/cancel") and answer.status_code == httpx.codes.CONFLICT and document.get("code") == "invalid_state":
        seen |= {"cancel": "too_late"}
    return Exchange(**_asked(request, begun), **seen)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
