"""gunicorn's threaded worker, which spends a thread only on a request that has been received whole, and for no longer than answering takes.

Everything that waits for a client waits in the poller, within a limit: the first byte, the head, the body, the next request on a kept connection, and the client's
own close after the last answer. docs/decisions/0028-a-request-is-received-before-a-thread-is-spent.md
"""

import contextlib
import errno
import itertools
import re
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from enum import Enum
from typing import Any, ClassVar

from django.conf import settings
from gunicorn.config import Config
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker

from config.edge.reception import BodyTooLarge, Reception

HEAD_WITHIN_S = 10.0  # from the first byte of a request, or from the accept, to the end of its head
BODY_WITHIN_S = 15.0  # from there to the end of its body
SEND_WITHIN_S = 10.0  # an answer that its client does not read
CLOSE_WITHIN_S = 2.0  # after the last answer: a client that goes on sending would otherwise lose it
READ_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Waits(Enum):
    """What a connection in the poller waits for."""

    FOR_REQUEST = "request"
    FOR_CLOSE = "close"


class Connection(TConn):
    """One client's. ``deadline``: on the monotonic clock; what has not come by then does not come."""

    waits = Waits.FOR_REQUEST
    deadline = 0.0
    parser: Reception

    @property
    def is_idle(self) -> bool:
        return self.waits is Waits.FOR_REQUEST and not self.parser.has_begun


class TimedOut(ParseException):
    """A request has begun and did not come to its end in time."""


class Worker(ThreadWorker):
    """TLS and HTTP/2 end before it, at a proxy."""

    # The first row that fits counts: what the edge of the application calls the refusal, and why, in words for a client.
    REFUSALS: ClassVar[tuple[tuple[type[Exception], str, str], ...]] = (
        (BodyTooLarge, "too_large", ""),
        (TimedOut, "timed_out", f"A request's head must come within {HEAD_WITHIN_S:g} s, its body within {BODY_WITHIN_S:g} s more."),
        (LimitRequestLine, "target_too_long", "The request line is longer than this shop reads."),
        (LimitRequestHeaders, "headers_too_large", "The headers are more, or longer, than this shop reads."),
        (ExpectationFailed, "expectation_failed", "Of all expectations only 100-continue can be met."),
        (UnsupportedTransferCoding, "transfer_coding", "Of all transfer codings only chunked is known."),
        (ParseException, "bad_request", "This cannot be read as a request of HTTP/1.1: {words}."),
        (Exception, "internal_error", ""),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waiting: dict[int, Connection] = {}

    @classmethod
    def check_config(cls, cfg: Config, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("This worker speaks plain HTTP/1.1: TLS ends at the proxy before it.")

    # --- in the poller: waiting for clients ---

    def accept(self, listener: socket.socket) -> None:
        try:
            line, client = listener.accept()
        except OSError as failed:
            if failed.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        connection = Connection(self.cfg, line, client, listener.getsockname())
        connection.parser = Reception(self.cfg, client, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        self._wait(connection, HEAD_WITHIN_S)

    def _wait(self, connection: Connection, within_s: float) -> None:
        connection.sock.setblocking(False)
        connection.deadline = time.monotonic() + within_s
        self.waiting[connection.sock.fileno()] = connection
        self.poller.register(connection.sock, selectors.EVENT_READ, lambda _: self._read(connection))

    def _stop_waiting(self, connection: Connection) -> None:
        del self.waiting[connection.sock.fileno()]
        self.poller.unregister(connection.sock)

    def _close(self, connection: Connection) -> None:
        if connection.sock.fileno() in self.waiting:
            self._stop_waiting(connection)
        self.nr_conns -= 1
        connection.close()

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
        elif connection.waits is Waits.FOR_REQUEST:
            self._receive(connection, data)

    def _receive(self, connection: Connection, data: bytes) -> None:
        reception = connection.parser
        begins, had_head = not reception.has_begun, reception.has_head
        reception.add(data)
        if reception.is_over:
            self._stop_waiting(connection)
            self.enqueue_req(connection)
        elif reception.has_head and not had_head:
            connection.deadline = time.monotonic() + BODY_WITHIN_S
            if reception.wants_continue:
                with contextlib.suppress(OSError):
                    connection.sock.send(CONTINUE)
        elif begins:
            connection.deadline = time.monotonic() + HEAD_WITHIN_S

    def murder_pending(self) -> None:
        """gunicorn asks for this at each turn of its loop, at least once a second."""
        now = time.monotonic()
        for connection in [connection for connection in self.waiting.values() if connection.deadline <= now]:
            if connection.waits is Waits.FOR_REQUEST and connection.parser.has_begun:
                self.handle_error(None, connection.sock, connection.client, TimedOut())
            self._close(connection)
        for connection in list(itertools.islice(self._idle(), max(0, self.nr_conns - self.worker_connections + 1))):
            self._close(connection)  # the longest idle: others could not connect

    def _idle(self) -> Iterator[Connection]:
        return (connection for connection in self.waiting.values() if connection.is_idle)

    def murder_keepalived(self, force: bool = False) -> None:
        for connection in list(self.waiting.values()) if force else ():
            self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        for connection in self._idle():
            connection.deadline = min(connection.deadline, deadline)

    def finish_request(self, connection: Connection, answered: "Future[bool]") -> None:
        """An answer has been sent: the next request on this connection, or its end."""
        if answered.cancelled() or answered.exception() is not None or not answered.result():
            self._part(connection)
            return
        connection.parser = connection.parser.following()
        if connection.parser.is_over:
            self.enqueue_req(connection)
        else:
            self._wait(connection, HEAD_WITHIN_S if connection.parser.has_begun else self.cfg.keepalive)

    def _part(self, connection: Connection) -> None:
        """Nothing more is sent. What still comes is thrown away for a moment, because a close now would reset the line and take the answer back."""
        connection.waits = Waits.FOR_CLOSE
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            self._wait(connection, CLOSE_WITHIN_S)
        except OSError:
            self._close(connection)

    # --- in a thread: answering ---

    def handle(self, connection: Connection) -> bool:
        """Whether the connection may be kept."""
        request = None
        try:
            connection.sock.settimeout(SEND_WITHIN_S)
            request = next(connection.parser)
            return bool(self._keepalive_after(connection, self.handle_request(request, connection)))
        except StopIteration:
            return False
        except (OSError, NoMoreData):
            return False  # the client is gone, or does not read
        except Exception as error:
            self.handle_error(request, connection.sock, connection.client, error)
            return False

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """A problem document, as the application has them; never gunicorn's own page."""
        name, detail = next((name, detail) for kind, name, detail in self.REFUSALS if isinstance(exc, kind))
        if name == "internal_error":
            self.log.exception("Error handling a request")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(exc).__name__).lower()
        answer = self.wsgi.refusal(name, detail.format(words=words))
        with contextlib.suppress(OSError):
            client.send(answer)
