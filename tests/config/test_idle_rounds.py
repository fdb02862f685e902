"""What the loops ask of the database in a shop in which nothing happens."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.management.commands.relay import Relay
from config.management.commands.sweep import Sweep
from config.management.loops import WHOLE_AFTER, Loop
from tests.emptying import empty


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("loop", [Sweep, Relay])
def test_an_idle_round_is_three_statements_and_every_third_looks_further(loop: type[Loop]) -> None:
    """The clock, the turn, and whether anything is due."""
    idle = loop(print)
    idle.round()  # it sends the probes that other tests of this process have asked for
    empty()
    counts = []
    for _ in range(2 + 2 * WHOLE_AFTER):
        with CaptureQueriesContext(connection) as asked:
            idle.round()
        counts.append(len(asked))

    quiet = [count for count in counts[2:] if count == 3]
    assert len(quiet) == 2 * (WHOLE_AFTER - 1), counts
