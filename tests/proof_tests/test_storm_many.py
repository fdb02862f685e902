"""Promise: storms of many at once, their small versions: sagas that nobody looks after, deliveries, messages, two releases, clients that ask again."""

from collections.abc import Callable

import pytest

from tests.proof_tests.test_storm_small import OF_MANY, holds


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", OF_MANY)
def test_a_small_storm_of_many_holds(name: str, show_figure: Callable[[str], None]) -> None:
    """However many wait, lie about or come from another release: my order is served beside them, and ends as it must."""
    holds(name, show_figure)
