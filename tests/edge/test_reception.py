"""Promise: in whatever pieces the bytes of a request come, it is received at the same byte, and what follows it is the next request's."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from gunicorn.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from config.edge import server
from config.edge.reception import FRAMING_SHARE, HEAD_MOST_BYTES, BodyTooLarge, Reception

MOST = 1000
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
REQUESTS = {
    "no body": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    "zeros before a size": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n000000000005\r\nhello\r\n0000000000\r\n\r\n",
    "trailers": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n",
    "line ends in a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
    "an empty line before": b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


def reception(most_bytes: int = MOST) -> Reception:
    cfg = Config()
    for name in ("limit_request_line", "limit_request_fields", "limit_request_field_size"):
        cfg.set(name, getattr(server, name))
    return Reception(cfg, ("127.0.0.1", 1), most_bytes)


def fed(data: bytes, cuts: list[int]) -> tuple[Reception, int]:
    """The reception, and after how many bytes it was over."""
    found, edges = reception(), sorted({*cuts, len(data)})
    for start, end in zip([0, *edges], edges, strict=False):
        found.add(data[start:end])
        if found.is_over:
            return found, end
    return found, len(data)


@pytest.mark.parametrize("kind", REQUESTS)
@given(cuts=st.lists(st.integers(1, 120)))
@settings(deadline=None, max_examples=40)
def test_a_request_is_over_with_its_last_byte(kind: str, cuts: list[int]) -> None:
    data = REQUESTS[kind]
    whole, ended = fed(data, [*cuts, len(data) - 1])

    assert (whole.is_over, ended) == (True, len(data))
    assert next(whole).method in ("GET", "POST")


@pytest.mark.parametrize("kind", REQUESTS)
@given(cuts=st.lists(st.integers(1, 160)))
@settings(deadline=None, max_examples=40)
def test_what_follows_is_the_next_request(kind: str, cuts: list[int]) -> None:
    data, behind = REQUESTS[kind] + NEXT, []
    first, ended = fed(data, cuts)
    next(first)
    assert first.finish_body()
    following: Any = first.following()
    following.add(data[ended:])
    behind.append(next(following))

    assert [request.uri for request in behind] == ["/next"]


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 400,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 400,
    ],
)
def test_a_body_that_is_too_large_is_over_at_once(data: bytes) -> None:
    found, _ = fed(data, [])

    with pytest.raises(BodyTooLarge):
        next(found)


CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def seconds_for(pieces: list[bytes], most_bytes: int) -> float:
    """Of a processor, until a request that comes in ``pieces`` is received and its body read."""
    begun = time.process_time()
    found = reception(most_bytes)
    for piece in pieces:
        found.add(piece)
    assert found.is_over
    found.finish_body()
    return time.process_time() - begun


@pytest.mark.parametrize(
    "pieces",
    [
        lambda many: [CHUNKS + b"1\r\nx\r\n" * many + b"0\r\n\r\n"],
        lambda many: [CHUNKS, *(bytes([byte]) for byte in b"1\r\nx\r\n" * many + b"0\r\n\r\n")],
        lambda many: [CHUNKS, *[b"1\r\nx\r\n" * 100] * (many // 100), b"0\r\nX: y\r\n\r\n"],
        lambda many: [b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X"] * many, b": y\r\n\r\n"],
    ],
    ids=["small chunks", "byte by byte", "in segments", "a head, byte by byte"],
)
def test_what_a_request_costs_grows_as_it_does(pieces: Callable[[int], list[bytes]]) -> None:
    """A stranger sends it: eight times as much takes about eight times as long."""
    few_s = min(seconds_for(pieces(4_000), 10**9) for _ in range(3))

    assert seconds_for(pieces(32_000), 10**9) < 20 * few_s


def test_a_body_that_is_mostly_framing_is_too_large() -> None:
    """Each chunk costs time, and a stranger chooses how small it is."""
    found, ended = fed(CHUNKS + b"1\r\nx\r\n" * 900, [len(CHUNKS) + 6 * (MOST // FRAMING_SHARE)])

    assert ended == len(CHUNKS) + 6 * (MOST // FRAMING_SHARE)
    with pytest.raises(BodyTooLarge):
        next(found)


def test_a_body_in_chunks_as_clients_make_them_is_read() -> None:
    found, _ = fed(CHUNKS + b"19\r\n" + b"x" * 25 + b"\r\n" + (b"19\r\n" + b"x" * 25 + b"\r\n") * 29 + b"0\r\n\r\n", [])

    assert next(found).body.read() == b"x" * 750


@pytest.mark.parametrize("data", [b"A" * (HEAD_MOST_BYTES + 1), b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"GET /\n", b"\r\n\r\n"])
def test_a_head_that_never_ends_well_is_over_at_once(data: bytes) -> None:
    found, _ = fed(data, [])

    assert found.is_over
    with pytest.raises(Exception, match=r"."):
        next(found)
