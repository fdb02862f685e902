"""The storms there are, in the order in which they are run. A new one is a file here and a line in this list."""

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.scenarios import (
    backlog,
    broker,
    database,
    deploy,
    divergences,
    exhausted,
    failover,
    killed,
    leases,
    locked,
    outage,
    poisoned,
    refunds,
    restored,
    retries,
    stalled,
    starved,
    stranded,
    wiped,
)

SCENARIOS: tuple[Scenario, ...] = tuple(
    module.SCENARIO
    for module in (
        refunds,
        outage,
        killed,
        wiped,
        database,
        stalled,
        failover,
        restored,
        leases,
        divergences,
        broker,
        stranded,
        backlog,
        starved,
        locked,
        exhausted,
        deploy,
        poisoned,
        retries,
    )
)
