"""Promise: whatever the reference allows, and whatever it does not, is answered as the reference says. The long form: ``python -m tests.orders.reference.fuzz``."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from knox.models import AuthToken

from tests.orders.reference.fuzzing import fuzz

EXAMPLES = 5


@pytest.fixture
def authorization(transactional_db: None, catalogue: None) -> str:
    _, token = AuthToken.objects.create(user=User.objects.create(username="web-shop"))
    return f"Token {token}"


@pytest.mark.timeout(600)
def test_the_shop_answers_generated_requests_as_the_reference_says(live_server: Any, authorization: str, report_line: Any) -> None:
    """Nothing that my client sends gets an answer that the reference does not have."""
    told = list(fuzz(live_server.url, authorization, seed=1, examples=EXAMPLES))

    report_line(f"{sum(one.requests for one in told)} generated requests")
    assert [failure for one in told for failure in one.failures] == []
    assert sum(one.requests for one in told) > 200
