"""One seed, one history: an order is placed, and then whatever the seed draws happens to it, until faults stop and everything must come to rest."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, transaction

from fulfillment import circuit as circuits
from fulfillment import tasks
from fulfillment.models import FINAL, Circuit, Saga, SagaState, SweepHeartbeat
from orders.models import Order, OrderLine
from tests.proofs.simulation import invariants, journal
from tests.proofs.simulation.equipment import Equipment
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.interruptions import ConnectionBroke
from tests.proofs.simulation.moves.deliveries import Deliveries
from tests.proofs.simulation.moves.outside import Outside
from tests.proofs.simulation.moves.people import People
from tests.proofs.simulation.moves.sweeps import Sweeps
from tests.proofs.simulation.observation import observe
from tests.proofs.simulation.provider import CAPABILITIES
from tests.proofs.simulation.threads import Killed, WorkerThread
from tests.proofs.simulation.verdict import Verdict
from tests.proofs.simulation.world import GATEWAY, Surroundings

CALM_MOVES = 400  # more than any order needs once faults have stopped
PARKED = SagaState.NEEDS_ATTENTION
OF_THE_SWEEP = ("sweep", "probe")
IN_DOUBT = ("in_doubt", "compensation_in_doubt")
OPERATIONS = tuple(circuits.name_of(role, GATEWAY, compensating) for role in ("payments", "carrier") for compensating in (False, True))


class History(HistoryState):
    """``wander``, or ``obey`` and what a scripted case does with ``act``; then ``end``."""

    def __init__(self, seed: int, equipment: Equipment, surroundings: Surroundings) -> None:
        super().__init__(seed, equipment, surroundings)
        self.deliveries, self.sweeps, self.outside, self.people = Deliveries(self), Sweeps(self), Outside(self), People(self)

    # --- the course of it ---

    def wander(self, moves: int) -> None:
        """An order is placed, and as the seed draws, at most so many moves with faults happen to it."""
        self._place()
        for _ in range(moves):
            if self.verdict.breach or self._is_at_rest():
                return
            self._move()

    def obey(self, capabilities: str) -> None:
        """An order is placed at a provider with this card. From here on a scripted case alone decides: providers answer well unless it says otherwise."""
        self.capabilities, self.provider.capabilities, self.obeys = capabilities, CAPABILITIES[capabilities], True
        self.oddities.happen = self.oddities.gives_back_twice = False
        self._place()

    def end(self, until_rest: bool) -> Verdict:
        """``until_rest``: faults stop, and everything must come to rest first."""
        if until_rest and not self.verdict.breach:
            self._come_to_rest()
        self.verdict.ending = self.seen.state
        self._forget()
        return self.verdict

    def _come_to_rest(self) -> None:
        """Faults have stopped."""
        self.calm = self.oddities.are_over = True
        for _ in range(CALM_MOVES):
            if self.verdict.breach or self._is_at_rest():
                break
            self._move()
        else:
            self.breach("it does not come to rest, though faults have stopped")
        if not self.verdict.breach:
            self.breach(invariants.at_rest(self.seen, self.provider, self.was_answered))

    def _forget(self) -> None:
        """What is left open here would be moved with the clock in every later history."""
        if self.seen.state in FINAL:
            return
        try:
            self.clock.set_in_the_database()
            Saga.objects.filter(pk=self.saga).update(state=SagaState.CLOSED_BY_OPERATOR)
        except DatabaseError as error:  # a row is still locked, by a connection that a worker has left behind
            self.breach(f"at the end nobody can write: {_first_line(error)}")

    def _place(self) -> None:
        self.clock.set_in_the_database()
        Circuit.objects.all().delete()
        SweepHeartbeat.objects.all().delete()
        sku = "NONE" if self.rng.random() < 0.12 and not self.obeys else "PLENTY"
        self.equipment.placed += 1
        number = f"SIM-{self.equipment.placed}"
        with suppress(Killed), transaction.atomic():  # killed after its commit: the order is placed, and nothing is published
            self.order = order = Order.objects.create(
                number=number,
                client=self.equipment.client,
                idempotency_key=number,
                shipping_address={"name": "S", "line1": "S", "city": "S", "postal_code": "1", "country": "IE"},
                payment_token="tok",
                correlation_id=number,
                currency="EUR",
                total_minor=100,
                customer_email="simulated@example.com",
                customer_name="S",
            )
            OrderLine.objects.create(order=order, sku=sku, name="thing", quantity=1, unit_price_minor=100)
            tasks.start(order)
        self.saga = Saga.objects.values_list("pk", flat=True).get(order=self.order)
        self.seen = journal.read(self.saga)
        self.trace(f"placed, {self.capabilities}, {sku.lower()}")

    def _is_at_rest(self) -> bool:
        quiet = not self.broker.messages and all(worker.is_idle for worker in self.workers) and not self.provider.air
        return quiet and (SagaState(self.seen.state).is_final or (self.seen.state == PARKED and self.calm))

    # --- what may happen next ---

    def _move(self) -> None:
        moves = self._possible()
        name, act = self.rng.choices([(name, act) for name, act, _ in moves], [weight for *_, weight in moves])[0]
        self.act(name, act)

    def act(self, name: str, act: Callable[[], str]) -> None:
        """One move, and what is seen of it."""
        self.verdict.moves += 1
        self.equipment.commits.forget()
        faultiness = 0.0 if self.is_undisturbed else self.faultiness
        try:
            with self.equipment.watching(), self.equipment.interruptions.possible(faultiness):
                self.trace(act() or name)
        except Killed:
            self.trace(f"{name}: killed inside its transaction")
            if name in OF_THE_SWEEP:
                self.clocks.sweep_ends()
        except ConnectionBroke:
            self.trace(f"{name}: its line to the database broke")
        except Exception as error:
            self.breach(f"{name} raised {_first_line(error)}")
        if not self.verdict.breach:
            try:
                observe(self, name)
            except DatabaseError as error:
                self.breach(f"after {name} nobody can read: {_first_line(error)}")

    def _possible(self) -> list[tuple[str, Any, float]]:
        moves: list[tuple[str, Any, float]] = []
        idle = [worker for worker in self.workers if worker.is_idle]
        busy = [worker for worker in self.workers if not worker.is_idle]
        if idle and self.broker.messages:
            moves.append(("deliver", lambda: self.deliveries.deliver(idle[0]), 5))
        if busy:
            moves.append(("go on", lambda: self.deliveries.go_on(self.rng.choice(busy)), 6))
        if self.provider.air:
            moves.append(("late", self.outside.late, 0.5 if not self.calm else 2))
        alive = bool(self.broker.messages or busy)
        if self.clocks.watch is None:
            moves.append(("a sweep begins", self.clocks.sweep_begins, 1.0 if not self.calm else 5))
        elif self.seen.wake_at is not None and (not alive or not self.calm):
            moves.append(("sweep", self.sweeps.sweep, 0.5 * self.liking("sweep") if alive else 5))
        elif not moves:
            moves.append(("wait", self.sweeps.wait, 1))
        if self.clocks.watch is not None and any(circuit["state"] != "closed" or circuit["wakes"] for circuit in self.seen.circuits):
            moves.append(("probe", self.sweeps.inspect_circuits, 1.5 * self.liking("probe") if not self.calm else 5))
        if not self.calm:
            moves += [(name, act, weight * self.faultiness * self.liking(name)) for name, act, weight in self._faults(busy)]
        if not self.calm and self._somebody_may_decide():
            moves.append(("operator", self.people.operator, 1.5 if self.seen.state == PARKED else 0.3 * self.liking("operator")))
        if self.looks_up and not self.calm and any(record["state"] in IN_DOUBT for record in self.seen.records):
            moves.append(("look up", self.people.look_up, 0.5 * self.liking("look up")))
        if self.cancels_left and not self.calm:
            moves.append(("cancel", self.people.cancel, 0.3 * self.liking("cancel")))
        return moves

    def _somebody_may_decide(self) -> bool:
        waits = bool(self.seen.saga["held_by"]) or any(record["state"] == "in_doubt" for record in self.seen.records)
        return self.seen.state == PARKED or waits

    def _faults(self, busy: list[WorkerThread]) -> list[tuple[str, Any, float]]:
        faults: list[tuple[str, Any, float]] = []
        if self.broker.messages:
            faults += [("lose", self.deliveries.lose, 1), ("double", self.deliveries.double, 1)]
        if busy:
            faults += [("kill", lambda: self.deliveries.kill(self.rng.choice(busy)), 1.5)]
            faults += [("errback", lambda: self.deliveries.spurious_errback(self.rng.choice(busy)), 0.7)]
        if self.past:
            faults.append(("crash", self.outside.database_crash, 2))
        if any(effect.what == "label" and effect.open_minor and not effect.handed_over for effect in self.provider.effects):
            faults.append(("handed over", self.outside.hand_over, 0.3))
        if self.oddities.happen and self.outside.refundable():
            faults.append(("support", self.outside.support_refunds, 0.7))
        faults.append(("outage", lambda: self.outside.outage(self.rng.choice(OPERATIONS)), 0.5))
        faults.append(("long wait", self.sweeps.long_wait, 0.15))
        if self.clocks.go_wrong:
            faults.append(("clock", self.clocks.set, 0.7))
        if self.clocks.go_wrong and self.clocks.watch is not None:
            faults.append(("no sweep", self.clocks.sweep_ends, 0.2))
        return faults


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
