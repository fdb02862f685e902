"""A body that is chunked or compressed becomes an ordinary one, with its length and within the limit: Django reads no other."""

import io
import zlib
from typing import Any

from django.conf import settings

KNOWN = "gzip"
GZIP = 16 + zlib.MAX_WBITS


class Refused(Exception):
    """``name``: in ``orders.api.edge_refusals``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def unpack(environ: dict[str, Any]) -> None:
    """In place. Raises Refused: it cannot be read, is packed in an unknown way, or is too large."""
    is_chunked = "HTTP_TRANSFER_ENCODING" in environ
    coding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    is_packed = coding not in ("", "identity") and (is_chunked or environ.get("CONTENT_LENGTH", "0") != "0")
    if not is_chunked and not is_packed:
        return
    if is_packed and coding not in (KNOWN, f"x-{KNOWN}"):
        raise Refused("encoding")
    body = _read(environ, is_chunked)
    if is_packed and body:
        body = _unpacked(body)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    for name in ("HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING"):
        environ.pop(name, None)


def _read(environ: dict[str, Any], is_chunked: bool) -> bytes:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    announced = environ.get("CONTENT_LENGTH") or "0"
    wanted = most + 1 if is_chunked or not announced.isdecimal() else min(int(announced), most + 1)
    try:
        body: bytes = environ["wsgi.input"].read(wanted)
    except Exception:  # the server's own kinds: what is wrong with a chunk is known to its reader alone
        raise Refused("body") from None
    if len(body) > most:
        raise Refused("too_large")
    return body


def _unpacked(packed: bytes) -> bytes:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    inflater = zlib.decompressobj(GZIP)
    try:
        body = inflater.decompress(packed, most + 1)
    except zlib.error:
        raise Refused("body") from None
    if len(body) > most:
        raise Refused("too_large")
    if not inflater.eof or inflater.unused_data:
        raise Refused("body")
    return body
