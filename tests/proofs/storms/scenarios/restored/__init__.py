"""The database is lost, and a base backup takes its place: hundreds of orders have moved since, and dozens were open then. A person recovers, by the runbook."""

from tests.proofs.storms import data_loss, invariants, roles_down
from tests.proofs.storms.postgresql import back_up
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.scenarios.restored.afterwards import (
    a_person_decides,
    everything_ends,
    new_orders_work,
    only_what_was_decided_moved,
)
from tests.proofs.storms.scenarios.restored.before import PREPARED_WITHIN_S, Opened, the_database_is_lost, they_move
from tests.proofs.storms.scenarios.restored.recovery import a_person_recovers, it_is_seen
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm


def happens(storm: Storm) -> None:
    storm.place(storm.how_many["before"])
    storm.rest(PREPARED_WITHIN_S)
    opened = Opened(storm)
    acknowledged = list(storm.numbers)
    with storm.orders_flowing(storm.how_many["meanwhile"], storm.how_many["per_s"]):
        backup = back_up(storm)
    they_move(storm, opened)
    invariants.clients_agree(storm)  # what was answered until here was true; from here on the shop speaks from the backup
    the_database_is_lost(storm, backup)

    found = data_loss.read(storm, storm.numbers)
    storm.counts |= {"open in the backup": len(found.state), "forgotten": len(found.forgotten), "of them on record": len(found.on_record)}
    storm.expect(set(acknowledged) <= found.known, "the backup lacks orders that were answered before it was taken")
    storm.expect(found.known <= found.acknowledged, "the backup holds orders that nobody has placed")
    storm.expect(set(found.done) <= found.acknowledged, "the provider has worked for orders that nobody has placed")
    storm.expect(len(found.state) >= opened.count, f"only {len(found.state)} orders are open in the backup")
    storm.begins_anew(found.known)
    it_is_seen(storm, found)
    a_person_recovers(storm, found)
    roles_down.bring_up(storm, *roles_down.OF_THE_SHOP)
    storm.fault_ended()
    new_orders_work(storm, found)
    storm.rest(120)
    everything_ends(storm, found, opened)
    a_person_decides(storm, found)
    only_what_was_decided_moved(storm, found)


SCENARIO = Scenario(
    name="restored",
    promise="A base backup takes the place of the database after 200 orders have moved: what differs is listed whole, nobody is charged twice, new orders work.",
    happens=happens,
    sizes={
        SMALL: {"before": 6, "of_each_kind": 1, "meanwhile": 4, "per_s": 4, "moved": 20, "under_way": 2, "new": 4},
        FULL: {"before": 40, "of_each_kind": 4, "meanwhile": 8, "per_s": 4, "moved": 200, "under_way": 10, "new": 20},
    },
    minutes={SMALL: 1.5, FULL: 1.7},
    variables={"STEP_TRIES": "60", "COMPENSATION_TRIES": "60"},  # nobody runs out of them while the providers are down
    program=roles_down.PROGRAM,
)
