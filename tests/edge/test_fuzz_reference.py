"""Promise: whatever the reference allows, and whatever it does not, is answered as the reference says. The long form: ``python -m tests.orders.reference.fuzz``."""

from typing import Any

import pytest

from tests.orders.conftest import Client
from tests.fuzz.reference import PHASES, fuzz

pytestmark = pytest.mark.processes  # not after each save
EXAMPLES = 5
AT_LEAST = {"examples": 10, "coverage": 200, "fuzzing": 20, "stateful": 10}  # requests


@pytest.fixture
def authorization(transactional_db: None, catalogue: None) -> str:
    return Client("web-shop").authorization


@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", PHASES)
def test_the_shop_answers_generated_requests_as_the_reference_says(
    live_server: Any, authorization: str, report_line: Any, phase: str
) -> None:
    """Nothing that my client sends gets an answer that the reference does not have."""
    told = list(fuzz(live_server.url, authorization, seed=1, examples=EXAMPLES, phases=[phase]))

    requests = sum(one.requests for one in told)
    report_line(f"schemathesis, {phase}: {requests} requests")
    assert not (failures := [failure for one in told for failure in one.failures]), "\n".join(failures)
    assert requests >= AT_LEAST[phase]
