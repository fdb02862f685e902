"""Reception: one request as its bytes come in. It is over when a thread can answer without waiting for the client.

gunicorn's own parser reads the head. It also reads the body later, from what has been received and nowhere else. So what is looked for here, the end of a body,
decides only when a thread begins, and never where the next request begins.
"""

import re
from collections.abc import Iterable

from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders, NoMoreData, ParseException, UnsupportedTransferCoding
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.util import split_request_uri

HEAD_MOST_BYTES = 64 * 1024
CHUNK_LINE_MOST_BYTES = 4 * 1024
# What frames the chunks, trailers too, may take a fourth of what a body may have: each chunk costs time, however small it is.
FRAMING_SHARE = 4
PIECE_BYTES = 8 * 1024
END_OF_HEAD = b"\r\n\r\n"
BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
HEX = frozenset(b"0123456789abcdefABCDEF")


class BodyTooLarge(ParseException):
    """Nobody reads such a body, so the connection is closed after the answer."""


class NoHost(ParseException):
    """RFC 9112 section 3.2: it must be refused. Behind a proxy the two could mean different hosts."""


class Received(Unreader):
    """What has come and was not read yet. A reader that wants more is told that there is none."""

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """Whoever takes what there is gets a piece: gunicorn copies all of that for each chunk that it finds in it."""
        data: bytes = super().read(min(PIECE_BYTES, self.length()) if size is None else size, read_ahead)
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b""

    def add(self, data: bytes) -> None:
        self.buf.seek(0, 2)
        self.buf.write(data)

    def length(self) -> int:
        return len(self.buf.getbuffer())


class Reception(RequestParser):
    """``add`` bytes until it ``is_over``; then ``next`` of it is the request, or raises what is wrong with it. gunicorn takes it for a parser."""

    def __init__(self, cfg: Config, peer: object, most_bytes: int) -> None:
        super().__init__(cfg, [], peer)
        self.unreader = Received()
        self.most_bytes = most_bytes
        self.is_over = False
        self.wants_continue = False
        self._head = bytearray()
        self._error: Exception | None = None
        self._chunks: ChunkScanner | None = None

    @property
    def has_begun(self) -> bool:
        return self.mesg is not None or bool(self._head)

    @property
    def has_head(self) -> bool:
        return self.mesg is not None

    def add(self, data: bytes) -> None:
        if self.mesg is None:
            self._add_to_head(data)
        else:
            self.unreader.add(data)
            self._look_for_the_end(data)

    def __next__(self) -> Request:
        if self._error is not None:
            raise self._error
        if self.mesg is None or self.req_count:
            raise StopIteration
        self.req_count += 1
        return self.mesg

    def following(self) -> "Reception":
        """The reception of the next request on this connection, with what has come of it already."""
        following = Reception(self.cfg, self.source_addr, self.most_bytes)
        if rest := self.unreader.take_buffered():
            following.add(rest)
        return following

    def _add_to_head(self, data: bytes) -> None:
        before = len(self._head)
        self._head += data
        ends = self._head.find(END_OF_HEAD, max(0, before - len(END_OF_HEAD) + 1)) >= 0
        # With a bare line feed it never ends in the way in which heads end: gunicorn refuses it now.
        if ends or len(self._head) > HEAD_MOST_BYTES or BARE_LINE_FEED.search(self._head, before):
            self._read_head()

    def _read_head(self) -> None:
        self.unreader.add(bytes(self._head))
        try:
            request = Request(self.cfg, self.unreader, self.source_addr)
            _settle_host(request)
        except (NoMoreData, StopIteration):
            self._wait_or_refuse()
        except InvalidHeader as wrong:
            self._end_with(_unknown_coding(getattr(wrong.req, "headers", [])) or wrong)
        except ParseException as wrong:
            self._end_with(wrong)
        else:
            self._begin_body(request)

    def _wait_or_refuse(self) -> None:
        """gunicorn wants more: it has passed over an empty line, for example."""
        self.unreader.take_buffered()
        if len(self._head) > HEAD_MOST_BYTES:
            self._end_with(LimitRequestHeaders(f"more than {HEAD_MOST_BYTES} bytes"))

    def _begin_body(self, request: Request) -> None:
        if unknown := _unknown_coding(request.headers):
            self._end_with(unknown)
            return
        self.mesg = request
        self._head.clear()
        reader = request.body.reader
        if isinstance(reader, ChunkedReader):
            self._chunks = ChunkScanner(self.most_bytes)
        else:
            self._length = reader.length
        # gunicorn would say so only when the body has been received.
        self.wants_continue, request._expected_100_continue = request._expected_100_continue, False
        self._look_for_the_end(self.unreader.buf.getvalue())

    def _look_for_the_end(self, data: bytes) -> None:
        if self._chunks is None:
            if self._length > self.most_bytes:
                self._end_with(BodyTooLarge())
            self.is_over = self.is_over or self.unreader.length() >= self._length
            return
        self.is_over = self._chunks.add(data)
        if self._chunks.is_too_large:
            self._end_with(BodyTooLarge())

    def _end_with(self, error: Exception) -> None:
        self._error, self.is_over = error, True


class ChunkScanner:
    """Finds the end of a chunked body. What is malformed counts as the end: gunicorn, which reads the body afterwards, refuses it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._size = 0
        self._framing = 0  # bytes that are no body
        self._waiting = bytearray()
        self._passing = 0  # bytes of a chunk, and the line end behind it, that are still to come
        self._in_trailers = False

    @property
    def is_too_large(self) -> bool:
        return self._size > self._most_bytes or self._framing > self._most_bytes // FRAMING_SHARE

    def add(self, data: bytes) -> bool:
        """Whether the body has ended."""
        self._waiting += data
        at, has_ended = self._pass(0), False
        while not has_ended and (end := self._waiting.find(b"\r\n", at)) >= 0:
            has_ended = self._is_end(bytes(self._waiting[at:end]))
            at = self._pass(end + 2)
        del self._waiting[:at]
        return has_ended or len(self._waiting) > CHUNK_LINE_MOST_BYTES

    def _pass(self, at: int) -> int:
        """Where the chunk ends that begins ``at``, or what has come of it."""
        passed = min(self._passing, len(self._waiting) - at)
        self._passing -= passed
        return at + passed

    def _is_end(self, line: bytes) -> bool:
        self._framing += len(line) + 4  # its own line end, and that of its chunk
        if self._in_trailers:
            return not line or self.is_too_large
        size = line.partition(b";")[0].rstrip(b" \t")
        if not size or not HEX.issuperset(size):
            return True
        length = int(size, 16)
        self._size += length
        self._in_trailers = length == 0
        self._passing = length + 2 if length else 0
        return self.is_too_large


def _settle_host(request: Request) -> None:
    """Raises NoHost. Of a whole URL its own host counts, whatever the header says (RFC 9112 section 3.2.2)."""
    if request.version >= (1, 1) and all(name != "HOST" for name, _ in request.headers):
        raise NoHost
    if not request.uri.startswith("/") and (host := split_request_uri(request.uri).netloc):
        request.headers = [(name, host if name == "HOST" else value) for name, value in request.headers]


def _unknown_coding(headers: Iterable[tuple[str, str]]) -> UnsupportedTransferCoding | None:
    """gunicorn would read some codings as if they were none, and refuse others in another way, whatever it can undo: chunks alone (RFC 9112, 6.1)."""
    codings = [coding.strip(" \t") for name, value in headers if name == "TRANSFER-ENCODING" for coding in value.split(",")]
    unknown = next((coding for coding in codings if coding and coding.lower() != "chunked"), None)
    return UnsupportedTransferCoding(unknown) if unknown else None
