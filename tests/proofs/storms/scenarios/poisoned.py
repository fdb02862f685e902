"""Everything that is no message of this shop lies in every queue, and the queues' own keys hold something else, while orders flow."""

import json
import time

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.broker_monitor import QUEUES, broker_of
from tests.proofs.storms.poison import BROADCASTS, ENVELOPES, MESSAGES
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

WORKERS = ("saga", "sideeffects")
REFUSED, ASIDE = "Message refused on queue {queue}:", "of the broker was a"
FLOWS_FOR_S = 8.0  # of each round
READY_WITHIN_S = 30.0
REFUSED_WITHIN_S, ASIDE_WITHIN_S, REST_WITHIN_S = 30.0, 15.0, 120.0


class Poison:
    """``put`` counts what has been put into each queue."""

    def __init__(self, storm: Storm) -> None:
        self._storm, self._broker = storm, broker_of(storm)
        self.put = dict.fromkeys(QUEUES, 0)
        self.keys = 0

    def everywhere(self) -> None:
        """Each kind once into each queue, in any order, among the messages of orders."""
        whole = [(queue, name) for queue in QUEUES for name in (*MESSAGES, *ENVELOPES)]
        self._storm.rng.shuffle(whole)
        for queue, name in whole:
            odd = json.dumps(MESSAGES[name].envelope(queue)).encode() if name in MESSAGES else ENVELOPES[name]
            (self._broker.lpush if self._storm.rng.random() < 0.5 else self._broker.rpush)(queue, odd)
            self.put[queue] += 1
        for odd in BROADCASTS:
            self._broker.publish("/0.celery.pidbox", odd)

    def in_place_of_the_queues(self) -> None:
        """The keys themselves: whatever waited in them is lost, and the sweep and the relay find out."""
        for queue in QUEUES:
            self._broker.delete(queue)
            self._broker.set(queue, "not a queue")
            self.keys += 1
        wait_for(lambda: all(self._broker.type(queue) != b"string" for queue in QUEUES), ASIDE_WITHIN_S)

    def left(self) -> int:
        """What waits."""
        return sum(int(self._broker.llen(queue)) for queue in QUEUES)


def happens(storm: Storm) -> None:
    rounds = storm.how_many["rounds"]
    count = storm.how_many["orders"]
    poison = Poison(storm)
    wait_for(lambda: all(_lines(storm, f"{role}@", "ready.") for role in WORKERS), READY_WITHIN_S)
    before = _pids(storm)
    first = storm.place(1)[0]
    storm.diagnostics.look_up(first)
    begun = time.monotonic()
    with storm.orders_flowing(count, count / (FLOWS_FOR_S * rounds)):
        for number in range(rounds):
            storm.show("poisoning", number, rounds)
            poison.everywhere()
            if not number:
                storm.diagnostics.take("poison is everywhere", first)
            storm.until("refusing", lambda: sum(_refused(storm).values()), sum(poison.put.values()), REFUSED_WITHIN_S)
            poison.in_place_of_the_queues()
            time.sleep(max(0.0, FLOWS_FOR_S * (number + 1) - (time.monotonic() - begun)))
    storm.fault_ended()
    storm.rest(REST_WITHIN_S)
    wait_for(lambda: poison.left() == 0, REST_WITHIN_S)
    refused, aside = _refused(storm), len(_lines(storm, ASIDE))
    storm.counts |= {"kinds": len(MESSAGES) + len(ENVELOPES), "put in": sum(poison.put.values()), "refused": sum(refused.values())}
    storm.counts |= {"keys set aside": aside, "processes that died": len(before - _pids(storm))}
    storm.expect(refused == poison.put, f"put in {poison.put}, refused {refused}")
    storm.expect(aside == poison.keys, f"{poison.keys} keys were overwritten, {aside} set aside")
    storm.expect(before <= _pids(storm), f"of the workers' processes {sorted(before)} died {sorted(before - _pids(storm))}")
    storm.all_are_fulfilled()


def _pids(storm: Storm) -> set[int]:
    return {pid for role in WORKERS for pid in (storm.stack.pid(role), *storm.shop.children_of(role))}


def _refused(storm: Storm) -> dict[str, int]:
    return {queue: len(_lines(storm, REFUSED.format(queue=queue))) for queue in QUEUES}


def _lines(storm: Storm, *words: str) -> list[str]:
    logs = [file.read_text(errors="replace") for file in (storm.run_dir / "log").glob("*.log")]
    return [line for log in logs for line in log.splitlines() if all(word in line for word in words)]


SCENARIO = Scenario(
    name="poisoned",
    promise="Whatever lies in the queues, each of it is refused once; no worker dies of it, and all orders are fulfilled.",
    happens=happens,
    sizes={SMALL: {"orders": 40, "rounds": 1}, FULL: {"orders": 1000, "rounds": 20}},
    minutes={SMALL: 0.7, FULL: 3.2},
)
