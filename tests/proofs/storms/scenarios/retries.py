"""Many API clients at once send each order three times under one key, while web workers are killed and database connections are cut at random."""

import json
import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import psycopg

from tests.proofs.black_box.shop import Shop
from tests.proofs.storms.client_history import Exchange, Recording
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

AT_ONCE, TIMES = 2, 3  # a client that has lost patience sends again beside its first request; and once more when all its orders are placed
PATIENCE_S = 120.0  # of one request: a client that leaves the queue sooner makes it longer, for the shop answers it all the same
ANSWERED_WITHIN_S, LATER_S = 900.0, 300.0
STRUCK = 0.9  # of all requests; the last ones are left alone, or the unluckiest of them might be cut off for ever
PLACED, COME_AGAIN = 201, 503
ADD_CLIENTS = """
import json
from orders import client_tokens
print(json.dumps([client_tokens.add(f"retries-{{number}}").secret for number in range({count})]))
"""
OF_THE_CLIENTS = """
SELECT o.idempotency_key, o.number FROM orders_order o JOIN auth_user u ON u.id = o.client_id WHERE u.username LIKE 'retries-%%'
"""
ANY = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'shop-%' ORDER BY pid"
AT_WORK = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'shop-web-%' AND xact_start IS NOT NULL ORDER BY pid"
CUT = "SELECT xact_start IS NOT NULL, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s"


@dataclass(kw_only=True)
class Wish:
    """An order that a client wants. ``answers``: the order's number, for each request that was repeated until it was answered."""

    client: Shop
    quantity: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    answers: list[str] = field(default_factory=list)

    def send(self, within_s: float) -> str:
        number = self.client.place_stubbornly(within_s, self.key, quantity=self.quantity)
        self.answers.append(number)
        return number


def happens(storm: Storm) -> None:
    clients = _clients(storm, storm.how_many["clients"])
    wishes = [Wish(client=clients[n % len(clients)], quantity=1 + n % 5) for n in range(storm.how_many["keys"])]
    with Clients(_requests(storm, wishes), side_by_side=AT_ONCE * len(clients)) as sending, Faults(storm) as faults:
        while not sending.are_done:
            storm.show("clients ask again, workers die", len(sending.answered), sending.count)
            if len(sending.answered) < STRUCK * sending.count:
                faults.strike(len(sending.answered))
            time.sleep(0.02)
    storm.fault_ended()
    storm.counts |= {"clients": len(clients), "keys": len(wishes)} | heard(storm, storm.history) | faults.counts
    sending.finish(lambda _: None)
    storm.owners = {number: wish.client for wish in wishes for number in wish.answers}
    storm.numbers += storm.owners
    there_is_one_order_for_each_key(storm, wishes)
    storm.rest(LATER_S)
    storm.counts["fulfilled"] = storm.all_are_fulfilled()


def _clients(storm: Storm, count: int) -> list[Shop]:
    """Each with a token, and so with rate limits, of its own."""
    made = storm.shop.manage("shell", "-v", "0", "-c", ADD_CLIENTS.format(count=count))
    return [Shop(storm.stack, Recording(storm.history), token, PATIENCE_S) for token in json.loads(made.stdout)]


def _requests(storm: Storm, wishes: Sequence[Wish]) -> list[Callable[[], str]]:
    """Each wish twice at once, the next one of a client when its last one is answered. Then each once more: by then the orders have moved on."""
    at_once = [wish for wish in wishes for _ in range(AT_ONCE)]
    return [partial(wish.send, storm.within(ANSWERED_WITHIN_S)) for wish in (*at_once, *wishes)]


class Faults:
    """When something is done, and to whom, is left to the storm's dice. They count the requests that are answered, so the shop is at work whenever it is struck."""

    def __init__(self, storm: Storm) -> None:
        self.counts = {"web workers killed": 0, "connections cut": 0, "in a transaction": 0}
        self._storm, self._rng = storm, storm.rng
        self._kill_at, self._cut_at = self._after(0, "kill"), self._after(0, "cut")

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self._storm.stack.info["database"], autocommit=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def strike(self, answered: int) -> None:
        if answered >= self._kill_at and self._kill():
            self._kill_at = self._after(answered, "kill")
        if answered >= self._cut_at and self._cut():
            self._cut_at = self._after(answered, "cut")

    def _after(self, answered: int, what: str) -> int:
        return answered + self._rng.randint(self._storm.how_many[f"{what}_from"], self._storm.how_many[f"{what}_to"])

    def _kill(self) -> bool:
        """False: none lives right now."""
        workers = self._storm.shop.children_of("web")
        if workers:
            os.kill(self._rng.choice(workers), signal.SIGKILL)
            self.counts["web workers killed"] += 1
        return bool(workers)

    def _cut(self) -> bool:
        """Of whichever process; or of a web worker, in the middle of a request. False: nobody has one, or it has just ended."""
        pids = [pid for (pid,) in self._connection.execute(self._rng.choice((ANY, AT_WORK)))]
        cut = self._connection.execute(CUT, [self._rng.choice(pids)]).fetchone() if pids else None
        if cut:
            self.counts["connections cut"] += 1
            self.counts["in a transaction"] += cut[0]
        return cut is not None


def heard(storm: Storm, history: Iterable[Exchange]) -> dict[str, Any]:
    """What the clients were answered; a breach, if it was anything else than their order or that they may come again."""
    asked = [one for one in history if one.key]
    statuses = Counter(one.status for one in asked if one.status is not None)
    storm.expect(set(statuses) <= {PLACED, COME_AGAIN}, f"clients were answered {dict(statuses)}")
    as_new = {one.key for one in asked if one.status == PLACED and not one.replayed}
    return {
        "requests": len(asked),
        **{f"answered {status}": count for status, count in sorted(statuses.items())},
        "replayed": sum(one.replayed for one in asked),
        "without an answer": len(asked) - statuses.total(),
        "known by a replay alone": len({one.key for one in asked} - as_new),
    }


def there_is_one_order_for_each_key(storm: Storm, wishes: Sequence[Wish]) -> None:
    """In the database, and each request was answered with it. That the answers are the same to the letter, and marked, is judged with all that clients saw."""
    found = defaultdict[str, list[str]](list)
    for key, number in storm.shop.sql(OF_THE_CLIENTS):
        found[key].append(number)
    storm.counts["orders found"] = sum(map(len, found.values()))
    _none(storm, "keys have no order, or several", [wish.key for wish in wishes if len(found[wish.key]) != 1])
    _none(storm, "keys were not answered three times with it", [wish.key for wish in wishes if wish.answers != found[wish.key] * TIMES])
    _none(storm, "orders have a key that nobody has sent", sorted({*found} - {wish.key for wish in wishes}))


def _none(storm: Storm, what: str, keys: Sequence[str]) -> None:
    storm.expect(not keys, f"{len(keys)} {what}: {', '.join(keys[:5])}")


SCENARIO = Scenario(
    name="retries",
    promise="200 clients at once send each order three times while web workers are killed and connections are cut: one order per key, one answer.",
    happens=happens,
    sizes={
        SMALL: {"clients": 20, "keys": 40, "kill_from": 15, "kill_to": 30, "cut_from": 2, "cut_to": 6},
        FULL: {"clients": 200, "keys": 1000, "kill_from": 100, "kill_to": 200, "cut_from": 2, "cut_to": 10},
    },
    minutes={SMALL: 0.7, FULL: 4.0},
    variables={"ORDERS_WRITE_PER_MIN": "1200"},  # as in the shop: enough for each client, and not for all of them together
)
