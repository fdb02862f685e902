"""Promise: each answer is one line of the log, with the request id that its client was told, and without anything that names a person."""

from tests.edge.conftest import Edge
from tests.edge.talking import asked, head, line_to
from tests.proofs.black_box.waiting import wait_for


def lines_of(edge: Edge, request_id: str) -> list[str]:
    """A line is written a moment after the answer."""
    return wait_for(
        lambda: [line for line in edge.server.text().splitlines() if " answered " in line and f"request_id={request_id}" in line]
    )


def test_a_line_says_who_asked_for_what_by_route(edge: Edge) -> None:
    login = f"Authorization: Token {edge.token}"
    with line_to(edge.port) as line:
        asked(line, head("GET /api/v1/orders/ORD-AMARA?x=amara@example.com", login, "X-Request-ID: by-route"))

    (answered,) = lines_of(edge, "by-route")
    assert "answered method=GET route=/api/v1/orders/<str:number> status=400 client=web-shop ms=" in answered
    assert "amara" not in answered.lower()


def test_whoever_is_no_client_has_no_name(edge: Edge) -> None:
    with line_to(edge.port) as line:
        asked(line, head("GET /admin/login/", "X-Request-ID: a-person"))
        asked(line, head("AMARA /amara", "X-Request-ID: a-stranger"))

    assert "method=GET route=/admin/login/ status=200 client=- " in lines_of(edge, "a-person")[-1]
    assert "method=- route=- status=404 client=- " in lines_of(edge, "a-stranger")[-1]


def test_what_is_no_request_has_a_line_too(edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, b"AMARA\r\n\r\n")

    (answered,) = lines_of(edge, answer.headers["x-request-id"])
    assert "method=- route=- status=400 client=- " in answered
