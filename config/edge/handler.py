"""The WSGI application: every request has an id before Django sees it, every answer is one line of log, and what Django cannot even begin is answered too."""

import json
import logging
import time
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from drf_canon.errors.handler import CONTENT_TYPE

from config.edge import access_log
from config.edge.bodies import Refused, unpack
from orders import tracing
from orders.api.edge_refusals import REFUSALS
from orders.api.problems import REQUEST_ID

log = logging.getLogger(__name__)

StartResponse = Callable[..., Any]


class Request(WSGIRequest):
    def _set_content_type_params(self, environ: dict[str, Any]) -> None:
        """Raises Refused: one parameter says that it is in a character set that is none."""
        try:
            super()._set_content_type_params(environ)  # type: ignore[misc]
        except Exception:  # whatever a codec of Python raises
            raise Refused("content_type") from None


class Edge(WSGIHandler):
    request_class = Request

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Any:
        """The body of the answer, in parts."""
        begun = time.monotonic()
        answer = _Answer(start_response)
        request_id = environ[REQUEST_ID] = tracing.usable_id(environ.get("HTTP_X_REQUEST_ID", ""))
        with tracing.traced(request_id):
            try:
                if not environ.get("HTTP_ACCEPT", "*/*").strip(" ,"):
                    del environ["HTTP_ACCEPT"]  # whoever names no kind takes each, as RFC 9110 has it
                unpack(environ)
                return super().__call__(environ, answer)
            except Refused as refused:
                return answer.refuse(refused.name, request_id)
            except Exception:
                log.exception("A request broke outside of every view")
                return answer.refuse("internal_error", request_id)
            finally:
                access_log.write(environ, answer.status, begun)

    def refusal(self, name: str, detail: str = "") -> bytes:
        """A whole answer to what is no request. The line is closed after it."""
        begun, request_id = time.monotonic(), tracing.usable_id("")
        refusal = REFUSALS[name]
        body = json.dumps(refusal.document(request_id, detail)).encode()
        with tracing.traced(request_id):
            access_log.write({}, refusal.problem.status, begun)
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": len(body), "X-Request-ID": request_id, "Connection": "close"}
        lines = [f"HTTP/1.1 {_status_line(refusal.problem.status)}", *(f"{header}: {value}" for header, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


class _Answer:
    """What the server is told, and which status it was. 0: nothing yet."""

    def __init__(self, start_response: StartResponse) -> None:
        self.status = 0
        self._start_response = start_response

    def __call__(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        self.status = int(status[:3])
        return self._start_response(status, headers, *error)

    def refuse(self, name: str, request_id: str) -> Iterable[bytes]:
        refusal = REFUSALS[name]
        body = json.dumps(refusal.document(request_id)).encode()
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), "X-Request-ID": request_id, **refusal.headers}
        self(_status_line(refusal.problem.status), list(headers.items()))
        return [body]


def _status_line(status: int) -> str:
    return f"{status} {responses[status]}"
