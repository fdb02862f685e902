"""Promise: storms in which money is at stake, their small versions: refunds down, charges that come three leases late, ledgers that were forged, a database that
has lost its last orders.
"""

from collections.abc import Callable

import pytest

from tests.proof_tests.test_storm_small import OF_MONEY, holds


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", OF_MONEY)
def test_a_small_storm_of_money_holds(name: str, show_figure: Callable[[str], None]) -> None:
    """Whoever refunds, charges late or books what nobody asked for: I pay once, or not at all, or a person is notified."""
    holds(name, show_figure)
