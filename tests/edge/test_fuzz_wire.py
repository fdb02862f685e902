"""Promise: whatever the method, header, charset, encoding, length and order of bytes, the answer is a problem document with a request id, or a clean close."""

from typing import Any

import pytest

from tests.edge.conftest import Edge
from tests.fuzz.figures import collect, shortcomings
from tests.fuzz.inputs import Exchange
from tests.fuzz.kept import CASES
from tests.fuzz.rounds import exchanged, rounds

REQUESTS = 600  # ``python -m tests.fuzz wire`` sends 20,000


@pytest.mark.parametrize("case", CASES)
def test_what_was_answered_wrongly_once_is_answered_well(case: str, edge: Edge) -> None:
    statuses = exchanged(edge.port, edge.token, Exchange((CASES[case],), 1))

    assert not [status for status in statuses if status >= "5"]


def test_requests_that_are_odd_in_any_way_are_answered_well(edge: Edge, show_figure: Any) -> None:
    edge.server.count_from_here()
    figures = collect(rounds(edge.port, edge.token, seed=16), REQUESTS, print)

    show_figure(f"raw sockets: {figures}")
    assert shortcomings(figures, REQUESTS, edge.server.answered(), edge.server.errors_of_the_database()) == []
    assert figures.statuses["201"] > 0
    assert figures.statuses["400"] > 0
