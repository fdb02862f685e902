"""What is sent: requests that are right, nearly right, and no requests at all; whole, in pieces, one behind the other, or cut off."""

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

TOKEN = b"@TOKEN@"  # the server's own stands in its place when it is sent
KNOWN_SKU = "MUG-ENAMEL"


@dataclass(frozen=True)
class Exchange:
    """One connection: ``pieces`` are sent one after the other, then nothing more comes. ``requests``: how many it asks for, as far as it was meant to."""

    pieces: tuple[bytes, ...]
    requests: int

    @property
    def sent(self) -> bytes:
        return b"".join(self.pieces)


# --- the request line ---------------------------------------------------------------------------------------------------

METHODS = st.one_of(
    st.sampled_from(
        [b"GET", b"POST", b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"CONNECT", b"PROPFIND"]
    ),
    st.sampled_from([b"get", b"PoSt", b"A", b"", b"X" * 21, b"GET\x00", b"G\xc3\x89T", b"M-SEARCH", b"__import__"]),
)
FIRST = b"ORD-1001"  # the first number that a shop gives
PATHS = [
    b"/api/v1/orders", b"/api/v1/orders/", b"/api/v1/orders/ORD-1", b"/api/v1/orders/ORD-1/cancel", b"/api/v1/orders/ORD-1/events",
    b"/api/v1/orders/" + FIRST, b"/api/v1/orders/" + FIRST + b"/events", b"/api/v1/orders/" + FIRST + b"/cancel",
    b"/api/v1/products", b"/api/v1/products/MUG", b"/api/v1/products/MUG-ENAMEL", b"/api/v1/products/MUG-ENAMEL/recommendations",
    b"/api/v1", b"/api/", b"/api/v1/metrics", b"/api/v1/loyalty", b"/api/v1/openapi.json", b"/openapi.json", b"/docs",
    b"/problems/", b"/problems/not-found", b"/problems/x", b"/healthz", b"/readyz/", b"/", b"/nothing", b"/admin/login/", b"/admin",
    b"/admin/orders/order/", b"/static/nothing.css", b"/favicon.ico",
]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(
        [b"%00", b"%0d%0a", b"%ff", b"%c3%28", b"%ed%a0%80", b"..%2f", b"%2e%2e", b"//", b";", b"%", b"%zz", b"\\", b"a" * 300]
    ),
    st.sampled_from([b"\xff", b"\x00", b"\t", b" ", b"#x", b"@", b"[", b"%25", b"\xc3\xa9", b"%F0%9F%98%80", b"%E2%80%AE"]),
    st.binary(max_size=6),
)
NAMES = [
    b"cursor", b"page_size", b"expand", b"fields", b"status", b"status_group", b"reference", b"customer_email", b"sku", b"failure_code",
    b"placed_from", b"placed_before", b"updated_from", b"updated_before", b"format", b"_method", b"next", b"x%00y", b"\xff",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [
            b"", b"1", b"-1", b"1e9", b"99999999999999999999", b"cD0x", b"cD0lMDA", b"bz0xJnA9MQ%3D%3D", b"why", b"why,steps", b"json",
            b"placed", b"open", b"fuzz", b"amara@example.com", b"MUG-ENAMEL", b"%00", b"%ff", b"2026-01-31T12:00:00Z", b"0001-01-01T00:00:00Z",
            b"9999-12-31T23:59:59-23:59", b"2026-01-31T12:00:00%2B02:00", b"2026-W05-6",
        ]
    ),
    PIECES,
    st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
)  # fmt: skip
PAIRS = st.tuples(st.one_of(st.sampled_from(NAMES), PIECES), VALUES).map(lambda pair: pair[0] + b"=" + pair[1])
QUERIES = st.one_of(st.just(b""), st.lists(PAIRS, min_size=1, max_size=3).map(lambda pairs: b"?" + b"&".join(pairs)))
TARGETS = st.one_of(
    st.tuples(st.sampled_from(PATHS), QUERIES).map(b"".join),
    st.tuples(st.sampled_from(PATHS), QUERIES).map(b"".join),
    st.tuples(st.sampled_from(PATHS), PIECES, QUERIES).map(b"".join),
    st.sampled_from(
        [
            b"*",
            b"",
            b"http://127.0.0.1/api/v1/orders",
            b"http://[/",
            b"http://[::1",
            b"http:///x",
            b"//evil/api/v1/orders",
            b"api",
            b"127.0.0.1:80",
        ]
    ),
    st.sampled_from([b"/" + b"a" * 5000, b"/api/v1/orders?x=" + b"a" * 9000, b"/api/v1/orders/" + b"%00" * 1000]),
)
VERSIONS = st.sampled_from(
    [*[b"HTTP/1.1"] * 8, b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1", b"http/1.1", b"", b"HTTP/1.1 "]
)

# --- headers ------------------------------------------------------------------------------------------------------------

HOSTS = st.sampled_from(
    [
        *[b"localhost"] * 8,
        b"127.0.0.1:80",
        b"",
        b"evil.example",
        b"a b",
        b"[::1]",
        b"[",
        b"localhost:x",
        b"\xff",
        b"a@b",
        b"localhost,localhost",
    ]
)
CHARSETS = [
    b"utf-8",
    b"UTF8",
    b"latin-1",
    b"utf-16",
    b"utf-7",
    b"idna",
    b"punycode",
    b"base64",
    b"hex",
    b"rot13",
    b"unicode_escape",
    b"undefined",
]
CHARSETS += [
    b"mbcs",
    b"zlib",
    b"x" * 300,
    b"\xff",
    b"",
    b'"',
    b"utf-8-sig",
    b"../x",
    b"utf_8\xe9",
    b"cp65001",
    b"string-escape",
    b"\xc5\xbf",
]
TYPES = st.one_of(
    st.just(b"application/json"),
    st.just(b"application/json"),
    st.sampled_from(CHARSETS).map(lambda name: b"application/json; charset=" + name),
    st.sampled_from(CHARSETS).map(lambda name: b"application/json; charset*=" + name + b"''x"),
    st.sampled_from(CHARSETS).map(lambda name: b"application/json; charset*=utf-8''" + name),
    st.sampled_from(
        [b"text/plain", b"multipart/form-data", b"multipart/form-data; boundary=\xff", b"application/x-www-form-urlencoded", b"/", b";"]
    ),
    st.sampled_from([b"application/json;" * 50, b'application/json; a="', b"application/json; charset", b"*/*", b"", b"a/b; x*0=1; x*1=2"]),
    st.sampled_from(
        [b"application/json; charset*0*=utf-8''a; charset*2*=b", b"application/json; charset*0=a; charset*1*=%ff", b"a; b*x=1"]
    ),
)
ACCEPTS = st.sampled_from(
    [
        *[b"*/*"] * 3,
        b"application/json",
        b"text/html",
        b"application/json;q=x",
        b"a/b/c",
        b";",
        b"\xff",
        b"*/*;" * 90,
        b'application/json; v="',
        b"*",
    ]
)
KEYS = st.one_of(
    st.uuids().map(lambda key: key.hex.encode()),
    st.sampled_from([b"", b'""', b'"', b"k" * 255, b"k" * 256, b"\xc3\xa9", b"same-key", b"a\tb", b"4111111111111111"]),
)
ENCODINGS = st.sampled_from(
    [b"gzip", b"identity", b"deflate", b"br", b"gzip, gzip", b"zstd", b"x-gzip", b"", b"GZIP", b"\xff", b"gzip,deflate,br"]
)
CODINGS = st.sampled_from(
    [b"chunked", b"Chunked", b"chunked, chunked", b"gzip, chunked", b"identity", b"xchunked", b"chunked, gzip", b"\x0bchunked", b""]
)
LENGTHS = st.sampled_from(
    [b"0", b"-1", b"+5", b"0x10", b"1_0", b"5, 5", b"5,6", b"\xb2", b"", b"99999999999999999999", b"262145", b"1e3", b" 7 ", b"007"]
)
DATES = st.sampled_from([b"Thu, 01 Jan 1970 00:00:00 GMT", b"Thu, 99 Foo 99999 99:99:99 GMT", b"x", b"Mon, 01 Jan 0000 00:00:00 GMT"])
ODD_NAMES = st.sampled_from(
    [b"X_Odd", b"SCRIPT_NAME", b"PATH_INFO", b"Content_Length", b"X Y", b"", b":", b"X\x00Y", b"X\xff", b" Host", b"Host ", b"Proxy"]
)
FREE = st.one_of(
    st.sampled_from(
        [b"", b"x", b"/x", b"\xff\xfe", b"\x00", b"\r", b"\n", b"a\r\n b", b"A" * 9000, b"'\"><", b"${jndi:x}", b"\xed\xa0\x80", b"0"]
    ),
    st.binary(max_size=12),
)
OTHERS = st.one_of(
    st.tuples(st.just(b"Accept"), ACCEPTS),
    st.tuples(st.just(b"X-Request-ID"), st.one_of(st.sampled_from([b"req-7", b"a" * 65, b"\xff", b"a b"]), FREE)),
    st.tuples(st.just(b"Content-Encoding"), ENCODINGS),
    st.tuples(st.just(b"Accept-Encoding"), st.one_of(ENCODINGS, FREE)),
    st.tuples(st.just(b"Transfer-Encoding"), CODINGS),
    st.tuples(st.just(b"Content-Length"), LENGTHS),
    st.tuples(st.just(b"Expect"), st.sampled_from([b"100-continue", b"100-Continue", b"x", b""])),
    st.tuples(st.just(b"Connection"), st.sampled_from([b"close", b"keep-alive", b"Upgrade, HTTP2-Settings", b"TE", b"\xff", b""])),
    st.tuples(st.just(b"Upgrade"), st.sampled_from([b"h2c", b"websocket", b"\xff"])),
    st.tuples(st.just(b"HTTP2-Settings"), FREE),
    st.tuples(
        st.just(b"Cookie"),
        st.one_of(st.sampled_from([b"sessionid=x", b"csrftoken=\xff", b"=;;=", b"messages=x", b"sessionid=" + b"a" * 4000]), FREE),
    ),
    st.tuples(
        st.sampled_from([b"If-None-Match", b"If-Match", b"Range", b"Referer", b"Origin", b"User-Agent", b"Accept-Language", b"Prefer"]),
        FREE,
    ),
    st.tuples(st.sampled_from([b"If-Modified-Since", b"If-Unmodified-Since", b"Date"]), DATES),
    st.tuples(
        st.sampled_from(
            [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"X-HTTP-Method-Override", b"X-CSRFToken"]
        ),
        FREE,
    ),
    st.tuples(ODD_NAMES, FREE),
    st.tuples(st.binary(max_size=8), FREE),
)
LOGINS = st.one_of(
    st.just(b"Token " + TOKEN),
    st.sampled_from([b"bearer " + TOKEN, b"Bearer  " + TOKEN, b"Bearer " + TOKEN + b", Basic x", b"Bearer\t" + TOKEN]),
    st.sampled_from(
        [b"Token", b"Token ", b"Token x", b"Token a b", b"Token \xff", b"Bearer x", b"Basic \xff", b"token " + b"a" * 64, b"\xff", b""]
    ),
    FREE.map(lambda value: b"Bearer " + value),
)

# --- bodies -------------------------------------------------------------------------------------------------------------


def order() -> dict[str, Any]:
    return {
        "reference": "fuzz",
        "currency": "EUR",
        "customer": {"email": "amara@example.com", "name": "Amara Okafor"},
        "lines": [{"sku": KNOWN_SKU, "quantity": 1}],
        "payment": {"token": "tok_ok"},
        "shipping_address": {"name": "Amara", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"},
    }


PLACES: list[tuple[Any, ...]] = [(), ("reference",), ("currency",), ("customer",), ("customer", "email"), ("customer", "name"), ("lines",)]
PLACES += [("lines", 0), ("lines", 0, "sku"), ("lines", 0, "quantity"), ("payment",), ("payment", "token"), ("shipping_address",)]
PLACES += [("shipping_address", name) for name in ("name", "line1", "line2", "city", "state", "postal_code", "country")]
PLACES += [("expected_total_minor",), ("unknown",), ("shipping_address", "unknown")]
ODD_TEXTS = [
    "",
    "\x00",
    "\ud800",
    "\u202e",
    "\u0130@example.com",
    "a@b",
    "IE",
    "US",
    "4111 1111 1111 1111",
    "\U0001f600" * 200,
    "x" * 5000,
    "ß",
    "__proto__",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from([10**30, -1, 2**63, 1e308]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)), max_leaves=8
)


def _with(place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    body: Any = order()
    part = body
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    return body


ORDERS = st.one_of(st.just(order()), st.tuples(st.sampled_from(PLACES), JSON).map(lambda change: _with(*change)))
ODD_BODIES = [
    *[
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{}" * 20,
        b"[" * 5000,
        b'{"a":' * 5000,
        b"1" * 5000,
        b"-",
        b"NaN",
    ],
    *[
        b"1e999",
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'{"\\ud800":1}',
        b'{"\\u0000":1}',
        b"\x00",
        b"{}".decode().encode("utf-16"),
        b"x" * 300_000,
    ],
    b"[" + b"{}," * 60_000 + b"{}]",
    json.dumps({f"f{n}": n for n in range(9000)}).encode(),
    json.dumps(order() | {"lines": [{"sku": "x", "quantity": -1, "z": 1}] * 4000}).encode(),
    json.dumps(order() | {"customer": {f"f{n}" * 30: n for n in range(1000)}}).encode(),
]
BODIES = st.one_of(
    ORDERS.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass")),
    ORDERS.map(lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from(ODD_BODIES),
    st.binary(max_size=64),
)
PACKED = st.sampled_from(
    [
        *[
            gzip.compress(json.dumps(order()).encode()),
            gzip.compress(b"{}")[:-4],
            gzip.compress(b""),
            gzip.compress(b"\0" * 20_000_000),
            b"\x1f\x8b",
        ],
        *[
            gzip.compress(b"{}") * 2,
            gzip.compress(gzip.compress(b"\0" * 10_000_000)),
            zlib.compress(json.dumps(order()).encode()),
            b"{}",
            b"",
        ],
    ]
)


def _chunked(body: bytes, size: int, end: bytes) -> bytes:
    parts = [body[at : at + size] for at in range(0, min(len(body), size * 200), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


CHUNK_ENDS = st.sampled_from(
    [
        *[b"0\r\n\r\n"] * 6, b"", b"0\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"zz\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffff\r\nx",
        b"5\r\nab\r\n0\r\n\r\n", b"0;ext=\"\r\n\r\n", b"1\nx\n0\n\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n", b"\r\n",
    ]
)  # fmt: skip


ODD = ("method", "target", "version", "host", "login", "type", "key", "headers", "body", "framing", "order", "lines")
ROUTES = st.sampled_from(
    [
        *[(b"POST", b"/api/v1/orders")] * 6, (b"GET", b"/api/v1/orders"), (b"GET", b"/api/v1/orders?page_size=1"), (b"GET", b"/api/v1/products"),
        (b"POST", b"/api/v1/orders/ORD-1/cancel"), (b"GET", b"/api/v1/orders/" + FIRST), (b"GET", b"/api/v1/orders/" + FIRST + b"/events"),
        (b"POST", b"/admin/login/"), (b"GET", b"/healthz"),
    ]
)  # fmt: skip
FRAMINGS = st.sampled_from(["chunked", "packed", "short", "long", "none", "both"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Of all that makes a request, up to three things are odd. So most of them come as far as the view."""
    odd = set(draw(st.lists(st.sampled_from(ODD), max_size=3)))
    method, target = draw(ROUTES)
    method, target = draw(METHODS) if "method" in odd else method, draw(TARGETS) if "target" in odd else target
    headers = [
        (b"Host", draw(HOSTS) if "host" in odd else b"localhost"),
        (b"Authorization", draw(LOGINS) if "login" in odd else b"Bearer " + TOKEN),
        (b"Content-Type", draw(TYPES) if "type" in odd else b"application/json"),
        (b"Idempotency-Key", draw(KEYS) if "key" in odd else draw(st.uuids()).hex.encode()),
        *(draw(st.lists(OTHERS, min_size=1, max_size=3)) if "headers" in odd else []),
    ]
    body = draw(BODIES) if "body" in odd else json.dumps(order()).encode() if method == b"POST" else b""
    more, body = draw(framed(body, draw(FRAMINGS) if "framing" in odd else "length"))
    headers = draw(st.permutations([*headers, *more])) if "order" in odd else [*headers, *more]
    version = draw(VERSIONS) if "version" in odd else b"HTTP/1.1"
    line_end, colon = draw(st.tuples(LINE_ENDS, COLONS)) if "lines" in odd else (b"\r\n", b": ")
    head = b" ".join((method, target, version)) + line_end + b"".join(name + colon + value + line_end for name, value in headers)
    return head + line_end + body


LINE_ENDS, COLONS = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n "]), st.sampled_from([b": ", b":", b" : ", b"", b":\t", b"::"])


@st.composite
def framed(draw: st.DrawFn, body: bytes, framing: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers that say where the body ends, and the body as it is sent."""
    headers = []
    if framing == "packed":
        body = draw(PACKED)
        headers.append((b"Content-Encoding", draw(ENCODINGS)))
    if framing in ("chunked", "both"):
        headers.append((b"Transfer-Encoding", b"chunked"))
    if framing in ("length", "packed", "both"):
        headers.append((b"Content-Length", b"%d" % len(body)))
    if framing in ("short", "long"):
        headers.append((b"Content-Length", b"%d" % max(0, len(body) + (7 if framing == "long" else -7))))
    if framing in ("chunked", "both"):
        body = _chunked(body, draw(st.sampled_from([1, 7, 1000])), draw(CHUNK_ENDS))
    return headers, body


GARBAGE = st.sampled_from(
    [b"", b"\r\n", b"\r\n\r\n", b"\n\n\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HELO x\r\n", b"\0" * 100,
     b"A" * 70_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"]
)  # fmt: skip


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    several = draw(st.sampled_from([1, 1, 1, 1, 2, 3]))
    sent = b"".join(draw(st.lists(st.one_of(*[requests()] * 12, GARBAGE), min_size=several, max_size=several)))
    if draw(st.integers(0, 19)) == 7:
        sent = sent[: draw(st.integers(0, len(sent)))]
    cuts = sorted(draw(st.lists(st.integers(0, min(len(sent), 3000)), max_size=3)))
    pieces = tuple(sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True))
    return Exchange(pieces, several)
