"""One run of one scenario: its stack, its dice, what it has counted, and what did not hold."""

import random
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config.stack.errors import StackError
from config.stack.processes import end_leftovers
from config.stack.stopping import stop_running
from tests.proofs import prepared
from tests.proofs.black_box.shop import Shop
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.storms.broker_link import BrokerLink
from tests.proofs.storms.client_history import Exchange, Recording
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.diagnostics import Answer, Diagnostics
from tests.proofs.storms.spec import SMALL, ScenarioSpec

BESIDE_OTHERS = 3.0  # times longer is waited in a small storm, which shares its machine with other tests: there a limit finds what hangs, not how fast it is
COMMANDS = "commands"  # the folder by which `make stop` finds a storm: before its stack, or it would take the stack's end for a breach
Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


class Storm:
    """``show`` hears of progress. ``counts`` is what the last line shows, in order; ``breaches`` is empty where everything held."""

    def __init__(self, scenario: ScenarioSpec, size: str, seed: int, folder: Path, show: Progress) -> None:
        self.scenario = scenario
        self.how_many = scenario.sizes[size]
        self.slack = BESIDE_OTHERS if size == SMALL else 1.0
        self.rng = random.Random(f"{scenario.name} {seed}")
        self.run_dir = folder / scenario.name
        self.command_dir = folder / COMMANDS / scenario.name
        # What the storm runs beside its stack, for whoever comes after it was killed.
        self.left_behind = self.command_dir / "processes.json"
        self.show = show
        self.numbers: list[str] = []  # every order that was answered 201
        self.owners: dict[str, Shop] = {}  # of orders that were not placed by the stack's own client: who may ask for them
        self.planted: set[str] = set()  # orders of which the provider holds more than we asked for
        self.needs_person: set[str] = set()  # orders about which a person has still to decide: the last reconciliation finds them
        self.counts: dict[str, Any] = {}
        self.breaches: list[str] = []
        self.history: list[Exchange] = []  # what clients were answered, over every start of the stack
        self.fault_ended_at = 0.0  # by the wall clock, which is the database's too
        self.broker_link: BrokerLink | None = None  # to a broker of the storm's own
        self._stack: RunningStack | None = None
        self._shop: Shop | None = None
        self._diagnostics: Diagnostics | None = None

    # --- the stack ---

    def start(self, **variables: str) -> None:
        """From an empty folder, once; again, after it was killed, on what is left."""
        self.show("starting the stack", 0, 1)
        crash = self.run_dir / "crash"
        if self._stack is None:
            end_leftovers(self.left_behind)
            stop_running(self.run_dir)
            shutil.rmtree(self.run_dir, ignore_errors=True)
            crash.mkdir(parents=True)
            prepared.lay(self.run_dir)
        self._stack = RunningStack(self.run_dir, self.scenario.program, CRASH_POINTS=str(crash), **self.scenario.variables, **variables)
        self._shop = Shop(self._stack, Recording(self.history))

    def stop(self) -> None:
        if self._stack is not None and self._stack.process.poll() is None:
            self.show("stopping the stack", 0, 1)
            try:
                self._stack.stop()
            except StackError as stuck:
                self.expect(False, str(stuck))

    @property
    def stack(self) -> RunningStack:
        assert self._stack is not None
        return self._stack

    @property
    def shop(self) -> Shop:
        assert self._shop is not None
        return self._shop

    @property
    def diagnostics(self) -> Diagnostics:
        """Wanted for the first time before anything is wrong: somebody logs in."""
        self._diagnostics = self._diagnostics or Diagnostics(self.shop)
        return self._diagnostics

    def diagnosed(self) -> dict[str, dict[str, Answer]]:
        """What was answered, by moment."""
        return self._diagnostics.answers() if self._diagnostics else {}

    # --- orders ---

    def place(self, count: int, **changes: Any) -> list[str]:
        """``count`` orders from clients that repeat a request until it is answered; their numbers, in any order."""
        return self.in_parallel("placing orders", [lambda: self.shop.place_stubbornly(60, **changes)] * count)

    def in_parallel(self, what: str, calls: Sequence[Callable[[], str]]) -> list[str]:
        """What the calls return, each an order that was placed."""
        with Clients(calls) as clients:
            placed = clients.finish(lambda done: self.show(what, done, len(calls)))
        self.numbers += placed
        return placed

    @contextmanager
    def orders_flowing(self, count: int, per_s: float, **changes: Any) -> Iterator[Clients]:
        """``count`` orders are placed meanwhile, ``per_s`` a second; at the end of the block all of them have been answered."""
        with Clients([lambda: self.shop.place_stubbornly(60, **changes)] * count, per_s) as clients:
            yield clients
            self.numbers += clients.finish(lambda done: self.show("placing what is left", done, count))

    def let_flow(self, clients: Clients, what: str, seconds: float) -> None:
        """The orders of ``clients``, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.show(what, len(clients.answered), clients.count)
            time.sleep(0.2)

    def rest(self, within_s: float, numbers: Iterable[str] | None = None) -> bool:
        """Until none of the orders moves any more. False, and a breach, if one still does then."""
        wanted = list(self.numbers if numbers is None else numbers)
        return self.until("coming to rest", lambda: self.at_rest(wanted), len(wanted), within_s)

    def at_rest(self, numbers: list[str]) -> int:
        """How many of them are closed or wait for a person."""
        query = (
            "SELECT count(*) FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id"
            " WHERE o.number = ANY(%s) AND s.state NOT IN ('running', 'compensating')"
        )
        return int(self.shop.sql(query, numbers)[0][0])

    def statuses(self, numbers: Iterable[str]) -> dict[str, int]:
        rows = self.shop.sql("SELECT status, count(*) FROM orders_order WHERE number = ANY(%s) GROUP BY status", list(numbers))
        return dict(rows)

    def begins_anew(self, known: Collection[str]) -> None:
        """The shop speaks from a database that holds these orders and no others: what it has said until here binds nobody any more.

        What has become of the others, the scenario judges.
        """
        self.numbers = [number for number in self.numbers if number in known]
        self.history.clear()

    def owner(self, number: str) -> Shop:
        """As the client that has placed this order: it does not exist for others."""
        return self.owners.get(number, self.shop)

    # --- what must hold ---

    def all_are_fulfilled(self) -> int:
        """A breach, unless every order is. How many are."""
        ended = self.statuses(self.numbers)
        self.expect(ended == {"fulfilled": len(self.numbers)}, f"ended as {ended}")
        return ended.get("fulfilled", 0)

    def fault_ended(self) -> None:
        """From now on nothing is in the orders' way any more. The last one counts."""
        self.fault_ended_at = time.time()

    def within(self, seconds: float) -> float:
        """A limit of this storm, on a machine that it may share with others."""
        return seconds * self.slack

    def until(self, what: str, done: Callable[[], int], total: int, within_s: float, every_s: float = 0.5) -> bool:
        """Wait until ``done`` says ``total``. False, and a breach, if it has not by then."""
        within_s = self.within(within_s)
        deadline = time.monotonic() + within_s
        while (now := done()) < total:
            self.show(what, now, total)
            if time.monotonic() > deadline:
                return self.expect(False, f"{what}: {now} of {total} after {within_s:g} s")
            time.sleep(every_s)
        return True

    def expect(self, holds: bool, otherwise: str) -> bool:
        """A breach, in one sentence, unless it holds."""
        if not holds:
            self.breaches.append(otherwise)
        return holds

    def expect_none(self, what: str, orders: Set[str]) -> None:
        """A breach, with some of them, unless there are none of which ``what`` is true."""
        self.expect(not orders, f"{len(orders)} orders {what}: {', '.join(sorted(orders)[:5])}")
