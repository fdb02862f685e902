"""Inputs that were answered wrongly once, each as small as it could be made."""

from tests.fuzz.inputs import TOKEN

HEAD = b"GET /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token " + TOKEN + b"\r\n"


def with_type(content_type: bytes) -> bytes:
    return HEAD + b"Content-Type: " + content_type + b"\r\n\r\n"


# By what was wrong with the answer: a 500 without a request id, from before Django's handlers.
CASES = {
    "a parameter in a character set that has no letters": with_type(b"application/json; charset*=undefined''x"),
    "a parameter in a character set that does not exist": with_type(b"application/json; charset*=\xc5\xbf''x"),
    "a parameter in a character set that knows no errors": with_type(b"application/json; charset*=idna''x"),
    "a form in a character set that is none": b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
    b"Content-Type: application/x-www-form-urlencoded; charset=base64\r\n\r\na=1",
    "a prefix of the path that is not its prefix": HEAD + b"SCRIPT_NAME: /x\r\n\r\n",
    # A 500 of the API.
    "a token that is no UTF-8": b"GET /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token \xff\r\n\r\n",
    # gunicorn's own page, without a request id.
    "another version of HTTP": b"GET /api/v1/orders HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "a line feed alone": b"GET /api/v1/orders HTTP/1.1\n",
    "two empty lines": b"\r\n\r\n",
    "an asterisk": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a body with two ends": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a request line that is too long": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "headers that are too many": HEAD + b"X: y\r\n" * 200 + b"\r\n",
    "an expectation that nobody can meet": HEAD + b"Expect: tea\r\n\r\n",
    # Django's page, where a program had asked.
    "a path where nothing is": b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a probe by a method that it does not have": b"POST /healthz HTTP/1.1\r\nHost: 10.0.0.7\r\nContent-Length: 0\r\n\r\n",
    # A traceback in the log.
    "a host that is none": b"GET /api/v1/orders HTTP/1.1\r\nHost: a b\r\n\r\n",
}
