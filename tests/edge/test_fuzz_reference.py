"""Promise: whatever the reference allows, and whatever it does not, is answered as the reference says. The long form: ``python -m tests.fuzz reference``."""

from typing import Any

import pytest

from tests.edge.conftest import Edge
from tests.fuzz.figures import collect, shortcomings
from tests.fuzz.reference import PHASES, Caller, fuzz

EXAMPLES = 5
AT_LEAST = {"examples": 10, "coverage": 200, "fuzzing": 20, "stateful": 10}  # requests


@pytest.fixture(scope="module")
def client(edge: Edge) -> Caller:
    return Caller("every scope", edge.token, edge.shop.token_of("other-shop"))


def requests_of(edge: Edge, caller: Caller, phase: str, at_least: int, show_figure: Any) -> None:
    edge.server.count_from_here()
    told = fuzz(f"http://127.0.0.1:{edge.port}", caller, seed=1, examples=EXAMPLES, phases=[phase])
    figures = collect([told], at_least, print)

    show_figure(f"schemathesis, {caller.name}, {phase}: {figures}")
    assert shortcomings(figures, at_least, edge.server.answered(), edge.server.errors_of_the_database()) == []


@pytest.mark.parametrize("phase", PHASES)
def test_the_shop_answers_generated_requests_as_the_reference_says(edge: Edge, client: Caller, show_figure: Any, phase: str) -> None:
    """Nothing that my client sends gets an answer that the reference does not have."""
    requests_of(edge, client, phase, AT_LEAST[phase], show_figure)


def test_a_stranger_is_answered_as_the_reference_says(edge: Edge, show_figure: Any) -> None:
    requests_of(edge, Caller("no token"), "fuzzing", AT_LEAST["fuzzing"], show_figure)
