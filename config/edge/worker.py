"""gunicorn's threaded worker, which spends a thread only on a request that has been received whole, and for no longer than answering takes.

Everything that waits for a client waits in the poller, within a limit: the first byte, the head, the body, the client's reading of the answer, the next request on a
kept connection, and the client's own close after the last answer. docs/decisions/0028-a-request-is-received-before-a-thread-is-spent.md
"""

import contextlib
import errno
import re
import selectors
import socket
import time
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
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from config.edge.outgoing import Answering, Outgoing
from config.edge.reception import BodyTooLarge, Reception

HEAD_WITHIN_S = 10.0  # from the first byte of a request, or from the accept, to the end of its head
BODY_WITHIN_S = 15.0  # from there to the end of its body
SEND_WITHIN_S = 60.0  # what its client has not read of an answer when the application has ended it
MOST_SENDING = 100  # connections whose client still reads: each holds an answer, or an open file
CLOSE_WITHIN_S = 2.0  # after the last answer: a client that goes on sending would otherwise lose it
READ_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Waits(Enum):
    """What a connection in the poller waits for."""

    FOR_REQUEST = "request"
    FOR_READER = "reader"
    FOR_CLOSE = "close"


class Connection(TConn):
    """One client's. ``deadline``: on the monotonic clock; what has not come by then does not come. ``is_kept``: after an answer that says so."""

    waits = Waits.FOR_REQUEST
    deadline = 0.0
    is_kept = False
    parser: Reception

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.outgoing = Outgoing(self.sock)

    @property
    def is_idle(self) -> bool:
        """A new one is not: what its client has sent is on its way."""
        return self.is_kept and self.waits is Waits.FOR_REQUEST and not self.parser.has_begun

    def close(self, graceful: bool = False) -> None:
        self.outgoing.close()
        super().close(graceful)


class TimedOut(ParseException):
    """A request has begun and did not come to its end in time."""


class Worker(ThreadWorker):
    """TLS and HTTP/2 end before it, at a proxy."""

    # The first row that fits counts: what the edge of the application calls the refusal; and its words, where only this worker knows them.
    REFUSALS: ClassVar[tuple[tuple[type[Exception], str, str], ...]] = (
        (BodyTooLarge, "too_large", ""),
        (TimedOut, "timed_out", f"A request's head must come within {HEAD_WITHIN_S:g} s, its body within {BODY_WITHIN_S:g} s more."),
        (LimitRequestLine, "target_too_long", ""),
        (LimitRequestHeaders, "headers_too_large", ""),
        (ExpectationFailed, "expectation_failed", ""),
        (UnsupportedTransferCoding, "transfer_coding", ""),
        (ParseException, "bad_request", "This cannot be read as a request of HTTP/1.1: {words}."),
        (Exception, "internal_error", ""),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waiting: dict[int, Connection] = {}  # the longest first
        self.is_stopping = False

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
        self._wait(connection, Waits.FOR_REQUEST, HEAD_WITHIN_S)

    def _wait(self, connection: Connection, waits: Waits, within_s: float) -> None:
        connection.waits = waits
        self._give(connection, within_s)
        self.waiting[connection.sock.fileno()] = connection
        if waits is Waits.FOR_READER:
            self.poller.register(connection.sock, selectors.EVENT_WRITE, lambda _: self._send_on(connection))
        else:
            self.poller.register(connection.sock, selectors.EVENT_READ, lambda _: self._read(connection))

    def _give(self, connection: Connection, within_s: float) -> None:
        connection.deadline = time.monotonic() + (min(within_s, STOP_KEEPALIVE_LINGER) if self.is_stopping else within_s)

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
            self._await_body(connection)
        elif begins:
            self._give(connection, HEAD_WITHIN_S)

    def _await_body(self, connection: Connection) -> None:
        self._give(connection, BODY_WITHIN_S)
        if connection.parser.wants_continue:
            with contextlib.suppress(OSError):
                connection.sock.send(CONTINUE)

    def murder_pending(self) -> None:
        """gunicorn asks for this at each turn of its loop, at least once a second."""
        now = time.monotonic()
        for connection in [connection for connection in self.waiting.values() if connection.deadline <= now]:
            if connection.waits is Waits.FOR_REQUEST and connection.parser.has_begun:
                self.handle_error(None, connection.sock, connection.client, TimedOut())
            self._close(connection)
        reading = [connection for connection in self.waiting.values() if connection.waits is Waits.FOR_READER]
        for connection in reading[: max(0, len(reading) - MOST_SENDING)]:
            self._close(connection)
        if (too_many := self.nr_conns - self.worker_connections + 1) > 0:
            self._make_room(too_many)

    def _make_room(self, too_many: int) -> None:
        """Closes the longest idle; then whoever has made the shop wait longest. Never the newest: it was accepted in this turn, and its bytes were not read yet."""
        by_age = list(self.waiting.values())[:-1]
        for connection in sorted(by_age, key=lambda connection: not connection.is_idle)[:too_many]:
            self._close(connection)

    def murder_keepalived(self, force: bool = False) -> None:
        for connection in list(self.waiting.values()) if force else ():
            self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """gunicorn calls this once, when it begins to stop. As long as a listener is open the system takes connections, which nobody would answer."""
        self.is_stopping = True
        for listener in self.sockets:
            listener.close()
        for connection in self.waiting.values():
            connection.deadline = min(connection.deadline, deadline)

    def finish_request(self, connection: Connection, answered: "Future[bool]") -> None:
        connection.is_kept = not answered.cancelled() and answered.exception() is None and answered.result()
        if connection.outgoing.is_empty:
            self._go_on(connection)
        else:
            self._wait(connection, Waits.FOR_READER, SEND_WITHIN_S)

    def _send_on(self, connection: Connection) -> None:
        try:
            connection.outgoing.send_on()
        except OSError:
            self._close(connection)
            return
        if connection.outgoing.is_empty:
            self._stop_waiting(connection)
            self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """An answer has been sent: the next request on this connection, or its end."""
        if not connection.is_kept:
            self._part(connection)
            return
        connection.parser = connection.parser.following()
        if connection.parser.is_over:
            self.enqueue_req(connection)
            return
        self._wait(connection, Waits.FOR_REQUEST, HEAD_WITHIN_S if connection.parser.has_begun else self.cfg.keepalive)
        if connection.parser.has_head:
            self._await_body(connection)

    def _part(self, connection: Connection) -> None:
        """Nothing more is sent. What still comes is thrown away for a moment, because a close now would reset the line and take the answer back."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            self._wait(connection, Waits.FOR_CLOSE, CLOSE_WITHIN_S)
        except OSError:
            self._close(connection)

    # --- in a thread: answering ---

    def handle(self, connection: Connection) -> bool:
        """Whether the connection may be kept."""
        request = None
        try:
            request = next(connection.parser)
            answering = Answering(connection.outgoing, connection.client, connection.server)
            return bool(self._keepalive_after(connection, self.handle_request(request, answering)))
        except StopIteration:
            return False
        except (OSError, NoMoreData):
            return False  # the client is gone
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
