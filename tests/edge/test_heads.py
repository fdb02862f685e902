"""Promise: a head means what RFC 9110 and RFC 9112 say."""

import pytest

from tests.edge.conftest import Edge
from tests.edge.talking import asked, document, head, line_to


def test_a_request_of_http_1_1_names_its_host(edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, b"GET /healthz HTTP/1.1\r\n\r\n")

    assert (answer.status, document(answer)["code"]) == (400, "bad_request")
    assert "no host" in document(answer)["detail"]


def test_a_request_of_http_1_0_need_not(edge: Edge) -> None:
    with line_to(edge.port) as line:
        assert asked(line, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize(("target", "host", "status"), [("localhost", "elsewhere.example", 200), ("elsewhere.example", "localhost", 400)])
def test_the_host_of_a_whole_url_counts(target: str, host: str, status: int, edge: Edge) -> None:
    with line_to(edge.port) as line:
        request = f"GET http://{target}/docs HTTP/1.1\r\nHost: {host}\r\n\r\n"

        assert asked(line, request.encode()).status == status


@pytest.mark.parametrize("accept", ["", " ", ","])
def test_whoever_says_nothing_of_what_they_accept_gets_json(accept: str, edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, head("GET /api/v1/products", f"Authorization: Bearer {edge.token}", f"Accept: {accept}"))

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("space", [b"\xa0", b"\x85"])
def test_a_token_stands_behind_a_space(space: bytes, edge: Edge) -> None:
    login = b"Authorization: Bearer" + space + edge.token.encode()
    with line_to(edge.port) as line:
        answer = asked(line, head("GET /api/v1/products")[:-2] + login + b"\r\n\r\n")

    assert answer.status == 401
