"""Promise: whatever the method, header, charset, encoding, length and order of bytes, the answer is a problem document with a request id, or a clean close."""

import pytest

from tests.edge.conftest import Edge
from tests.fuzz.inputs import Exchange
from tests.fuzz.kept import CASES
from tests.fuzz.rounds import exchanged, fuzz

REQUESTS = 600  # ``python -m tests.fuzz`` sends 20,000


@pytest.mark.parametrize("case", CASES)
def test_what_was_answered_wrongly_once_is_answered_well(case: str, edge: Edge) -> None:
    statuses = exchanged(edge.port, edge.token, Exchange((CASES[case],), 1))

    assert not [status for status in statuses if status >= "5"]


def test_requests_that_are_odd_in_any_way_are_answered_well(edge: Edge) -> None:
    result = fuzz(edge.port, edge.token, REQUESTS, seed=16, say=print)

    assert result.failures == []
    assert result.statuses["201"] > 0
    assert result.statuses["400"] > 0
