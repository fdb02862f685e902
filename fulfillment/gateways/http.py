"""One HTTP call to a provider: one total deadline, one bounded answer, and four outcomes.

Every read and write gets only what is left of the deadline. So a provider that sends one byte a second cannot stretch a call.
Only name resolution is outside of it, because no operating system bounds that. The task's soft limit ends it.
Each call opens its own connection. A kept one may be dead already, and then nobody could tell "never arrived" from "in doubt".
"""

import json as json_codec
import logging
import socket
import ssl
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore

from fulfillment.errors import Busy, CircuitSignal, InDoubt, Rejected, StepError, Throttled, Unavailable
from fulfillment.gateways.lease import check_lease
from orders import tracing

log = logging.getLogger(__name__)

MAX_ANSWER = 1024 * 1024  # bytes

# --- the edge: what foreign outcomes are to us --------------------------------------------------------------------------

# The first row that fits counts. Until the connection (and TLS) stands, nothing of the request has left.
BREAKS: tuple[tuple[type[Exception], type[StepError], str, str], ...] = (
    (httpcore.ConnectTimeout, Unavailable, "connect_timeout", "The provider could not be reached in time."),
    (httpcore.ConnectError, Unavailable, "connect_failed", "The provider could not be reached."),
    (httpcore.TimeoutException, InDoubt, "timeout", "The provider did not answer in time."),
    (httpcore.NetworkError, InDoubt, "connection_lost", "The connection to the provider broke before it had answered."),
    (httpcore.ProtocolError, InDoubt, "undecodable_answer", "The provider's answer is no HTTP, or ended too early."),
)
DECLINE_STATUSES = (400, 402)
OF_THIS_REQUEST = set(range(400, 500)) - {401, 403, 407, 408}  # whatever else is no success meets every request alike: the provider is out


def outcome(status: int, answer: dict[str, Any] | None, declines: Collection[str], retry_after_s: float = 0.0) -> StepError | None:
    """What an HTTP answer means. None: a success. Anything that is not surely one thing or the other is in doubt.

    ``declines``: the codes with which this provider declares that it did not, and will not, do it.
    """
    error = (answer or {}).get("error")
    code = str(error.get("code", "")) if isinstance(error, dict) else ""
    message = f"The provider answered {status}" + (f" ({code})." if code else ".")
    if status == 429:
        return Throttled(message, code=code or "too_many_requests", retry_after_s=retry_after_s)
    if status in DECLINE_STATUSES and code in declines:
        return Rejected(message, code=code)
    if status == 409 and code == "in_progress":
        return Busy(message, code=code, signal=CircuitSignal.SUCCESS)
    if not 200 <= status < 300:
        return InDoubt(
            message, code=code or f"http_{status}", signal=CircuitSignal.SUCCESS if status in OF_THIS_REQUEST else CircuitSignal.FAILURE
        )
    return None if answer is not None else InDoubt("The provider's answer is not a JSON object.", code="undecodable_answer")


# --- the call -----------------------------------------------------------------------------------------------------------


def request(
    method: str,
    url: str,
    *,
    deadline_s: float,
    json: dict[str, Any] | None = None,
    key: str | None = None,
    declines: Collection[str] = (),
) -> dict[str, Any]:
    """The provider's answer, a JSON object, within ``deadline_s`` seconds over connect, all writes and all reads.

    Immediately before the first byte is written the worker's lease is checked. ``key`` is sent as Idempotency-Key.
    Raises Rejected, Unavailable, InDoubt, Busy.
    """
    headers: dict[bytes | str, bytes | str] = {"Accept": "application/json", "Connection": "close"}
    if (trace := tracing.current()) and tracing.is_usable(trace.correlation_id):
        headers["X-Request-ID"] = trace.correlation_id
    if key is not None:
        headers["Idempotency-Key"] = key
    body = None
    if json is not None:
        headers["Content-Type"], body = "application/json", json_codec.dumps(json).encode()
    status, raw, retry_after_s = _noted(method, url, headers, body, deadline_s)
    answer = _decoded(raw)
    if fault := outcome(status, answer, declines, retry_after_s):
        raise fault
    assert answer is not None
    return answer


def _noted(
    method: str, url: str, headers: Mapping[bytes | str, bytes | str], body: bytes | None, deadline_s: float
) -> tuple[int, bytes, float]:
    """The exchange, and one line of log about it. Without the path: it may hold a key."""
    begun, ended = time.monotonic(), ""
    try:
        status, raw, retry_after_s = _exchange(method, url, headers, body, deadline_s)
        ended = str(status)
        return status, raw, retry_after_s
    except StepError as fault:
        ended = fault.code
        raise
    finally:
        fields = {"method": method, "host": urlsplit(url).hostname, "ended": ended, "ms": round((time.monotonic() - begun) * 1000, 1)}
        log.info("provider called", extra={"fields": fields})


def _exchange(
    method: str, url: str, headers: Mapping[bytes | str, bytes | str], body: bytes | None, deadline_s: float
) -> tuple[int, bytes, float]:
    backend = _Backend(_Deadline(deadline_s))
    try:
        with (
            httpcore.HTTPConnection(httpcore.URL(url).origin, network_backend=backend) as connection,
            connection.stream(method, url, headers=headers, content=body) as response,
        ):
            return response.status, _bounded(response.iter_stream()), _retry_after_s(response.headers)
    except tuple(foreign for foreign, *_ in BREAKS) as fault:
        raise _translated(fault) from fault


def _retry_after_s(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Seconds for which a provider asks us to wait. 0: it does not say so in seconds."""
    header = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return float(header) if header.isdigit() else 0.0


def _bounded(chunks: Iterable[bytes]) -> bytes:
    raw = bytearray()
    for chunk in chunks:
        raw += chunk
        if len(raw) > MAX_ANSWER:
            raise InDoubt(f"The provider's answer is longer than {MAX_ANSWER} bytes.", code="answer_too_long")
    return bytes(raw)


def _translated(fault: Exception) -> StepError:
    return next(ours(message, code=code) for foreign, ours, code, message in BREAKS if isinstance(fault, foreign))


def _decoded(raw: bytes) -> dict[str, Any] | None:
    try:
        answer = json_codec.loads(raw)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


# --- the wire -----------------------------------------------------------------------------------------------------------


class _Deadline:
    """An instant that every operation on the wire shares."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def allow(self, wire: socket.socket) -> None:
        """The next operation on ``wire`` may take what is left. Raises TimeoutError if nothing is."""
        remaining = self._ends - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("The deadline is over.")
        wire.settimeout(remaining)


@contextmanager
def _translated_errors(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Translates the operating system's errors into those of httpcore."""
    try:
        yield
    except TimeoutError as fault:
        raise late(str(fault)) from fault
    except OSError as fault:
        raise broken(str(fault)) from fault


class _Backend(httpcore.NetworkBackend):
    """Connects within the deadline. The timeouts that httpcore passes are ignored, here and in the stream: there is only the one deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with _translated_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            return _Stream(self._connected(host, port), self._deadline)

    def _connected(self, host: str, port: int) -> socket.socket:
        """A connection to the first address of ``host`` that accepts. All addresses share the deadline."""
        refusal = OSError(f"{host} has no address.")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            wire = socket.socket(family, kind, protocol)
            try:
                self._deadline.allow(wire)
                wire.connect(address)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return wire
            except OSError as fault:
                wire.close()
                refusal = fault
        raise refusal


class _Stream(httpcore.NetworkStream):
    """A connection. Every operation ends with the deadline, and nothing is sent once the lease is over."""

    def __init__(self, wire: socket.socket, deadline: _Deadline) -> None:
        self._wire = wire
        self._deadline = deadline
        self._sending = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _translated_errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._deadline.allow(self._wire)
            return self._wire.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not self._sending:
            check_lease()
            self._sending = True
        with _translated_errors(httpcore.WriteTimeout, httpcore.WriteError):
            while buffer:
                self._deadline.allow(self._wire)
                buffer = buffer[self._wire.send(buffer) :]

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Before TLS stands nothing of the request has been sent, so an error here is one of connecting."""
        with _translated_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._deadline.allow(self._wire)
                return _Stream(ssl_context.wrap_socket(self._wire, server_hostname=server_hostname), self._deadline)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        self._wire.close()

    def get_extra_info(self, info: str) -> Any:
        """httpcore asks for the TLS object (for HTTP/2) and for readability. One request over HTTP/1.1 needs neither."""
        return None
