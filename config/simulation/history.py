"""One seed, one history: an order is placed, and then whatever the seed draws happens to it, until faults stop and everything must come to rest."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.backends.signals import connection_created
from django.test import override_settings

from config.simulation import journal, judge
from config.simulation.broker import Broker, Message
from config.simulation.clocks import Clocks
from config.simulation.interruptions import Interruptions, LineBroke
from config.simulation.journal import Seen
from config.simulation.oddities import Oddities
from config.simulation.provider import CARDS, DAY_S, LAG_S, Effect, Provider
from config.simulation.threads import Killed, WorkerThread
from config.simulation.world import GATEWAY, Clock, Commits, Surroundings, replaced
from fulfillment import circuit as circuits
from fulfillment import recovery, tasks
from fulfillment.engine import Launch, trying
from fulfillment.errors import Rejected
from fulfillment.models import DECIDED_BY_PERSONS, FINAL, Circuit, QueueProbe, Saga, SagaState, StockLevel
from orders.attention import Incident
from orders.connections import start_clean
from orders.database import is_unusable
from orders.models import Order, OrderLine
from orders.operators import Actor
from orders.watch import ClockWatch

WORKERS = 2
AMARA, BELA = (
    Actor(user=user, name=name, permissions=frozenset(f"fulfillment.decide_{verb}" for verb in DECIDED_BY_PERSONS))
    for user, name in ((1, "amara"), (2, "bela"))
)  # here nobody authenticates: that is the doors' business, and this is what they hand over
CALM_MOVES = 400  # more than any order needs once faults have stopped
PAUSES = ("before_start", "after_start", "before_call", "after_call", "after_settle_commit", "before_publish")
PARKED = SagaState.NEEDS_ATTENTION
OF_THE_SWEEP = ("sweep", "probe")
LOOKS_UP = 0.25  # in this share of all histories a person asks the provider now and then
IN_DOUBT = ("in_doubt", "undo_in_doubt")
OPERATIONS = tuple(circuits.name_of(role, GATEWAY, undo) for role in ("payments", "carrier") for undo in (False, True))


@dataclass
class Verdict:
    """``breach``: what did not hold, empty if all did. ``trace``: the history in sentences."""

    seed: int
    card: str
    breach: str = ""
    trace: list[str] = field(default_factory=list)
    ending: str = ""
    transitions: Counter[str] = field(default_factory=Counter)
    moves: int = 0


@dataclass(frozen=True)
class Course:
    """What happens first in a history, step by step, at a provider with this ``card``."""

    card: str
    happens: Callable[["History"], None]


class Simulator:
    """Runs histories one after the other in this process, on the default database."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.workers = [WorkerThread() for _ in range(WORKERS)]
        self.running: History | None = None
        self.commits, self.interruptions = Commits(), Interruptions()
        QueueProbe.objects.all().delete()
        QueueProbe.objects.bulk_create(QueueProbe(queue=queue) for queue in ("saga", "undo"))
        self.placed = Order.objects.count()
        self.client, _ = User.objects.get_or_create(username="simulation")
        StockLevel.objects.get_or_create(sku="PLENTY", defaults={"on_hand": 10**8})
        StockLevel.objects.get_or_create(sku="NONE", defaults={"on_hand": 0})

    def run(self, seed: int, moves: int = 60, *, course: "Course | None" = None, until_rest: bool = True) -> Verdict:
        """One history: at most ``moves`` moves with faults, then none until rest. ``course``: what happens first, instead of what the seed draws."""
        random.seed(seed)  # the engine's own jitter
        self.clock.jump(self.clock.now + 10**6)
        self.interruptions.begin(seed)
        with self._settings(seed), replaced(self.clock, self._boundary) as surroundings, self.interruptions.of_commits():
            self.running = History(seed, self, surroundings)
            connection_created.connect(self.clock.tell_a_new_connection)
            try:
                return self.running.run(moves, course, until_rest)
            finally:
                self._clear_the_workers()
                connection_created.disconnect(self.clock.tell_a_new_connection)
                self.running = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Whoever works on the database begins on a clean connection, as in the shop; what they do is seen, and may be interrupted."""
        start_clean()
        self.clock.tell_the_database()
        with connection.execute_wrapper(self.commits), connection.execute_wrapper(self.interruptions):
            yield

    def _settings(self, seed: int) -> override_settings:
        """Budgets are small in most histories, so that they are spent in some."""
        rng = random.Random(seed)
        budgets = {"STEP_TRIES": rng.choice((2, 3, 8)), "UNDO_TRIES": rng.choice((2, 3, 12)), "POISON_AFTER": rng.choice((2, 4, 12))}
        return override_settings(PAYMENTS_GATEWAY=GATEWAY, CARRIER_GATEWAY=GATEWAY, DEMO_VALUES=True, **budgets)

    def _boundary(self, boundary: str, step: str, undo: bool | None) -> None:
        assert self.running is not None
        self.running.boundary(boundary)

    def _clear_the_workers(self) -> None:
        for worker in self.workers:
            if not worker.is_idle:
                worker.kill()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


class History:
    def __init__(self, seed: int, simulator: Simulator, surroundings: Surroundings) -> None:
        self.rng = random.Random(seed)
        self.simulator, self.clock, self.workers = simulator, simulator.clock, simulator.workers
        self.card = self.rng.choice(list(CARDS))
        self.calm = False
        self.broker = surroundings.broker = Broker()
        self.oddities = Oddities(seed)
        self.provider = surroundings.provider = Provider(CARDS[self.card], self._decide, lambda: self.clock.now, self.oddities)
        self.verdict = Verdict(seed, self.card)
        self.clocks = Clocks(seed, self.clock)
        self._begin_a_process(ago_s=1000.0)
        self.carried: dict[WorkerThread, Message] = {}
        self.past: list[Seen] = []
        self.faultiness = self.rng.choice((0.05, 0.2, 0.5))
        self.likes: dict[str, float] = {}  # each history likes some kinds of trouble more than others: rare ones meet sooner
        self.cancels_left = self.rng.choice((0, 0, 1, 1, 2))
        self.saga = 0
        self.looks_up = (
            random.Random(f"{seed} look up").random() < LOOKS_UP
        )  # a die of its own, so that the other histories are as they were
        self.obeys = False
        self.next_fault = ""
        self.was_answered: set[str] = set()

    def _begin_a_process(self, ago_s: float = 0.0) -> None:
        """A worker that has just begun has never seen the database's clock."""
        trying.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        if ago_s:
            self.clock.now -= ago_s
            trying.watch.saw(self.clock.now, self.clock.of_the_database)
            self.clock.now += ago_s

    # --- the course of it ---

    def run(self, moves: int, course: "Course | None", until_rest: bool) -> Verdict:
        if course is not None:
            self._follow(course)
        else:
            self._place()
            self._wander(moves)
        if until_rest and not self.verdict.breach:
            self._come_to_rest()
        self.verdict.ending = self.seen.state
        self._forget()
        return self.verdict

    def _forget(self) -> None:
        """What is left open here would be moved with the clock in every later history."""
        if self.seen.state in FINAL:
            return
        try:
            self.clock.tell_the_database()
            Saga.objects.filter(pk=self.saga).update(state=SagaState.CLOSED_BY_OPERATOR)
        except DatabaseError as error:  # a row is still locked, by a connection that a worker has left behind
            self._breach(f"at the end nobody can write: {type(error).__name__}: {str(error).splitlines()[0]}")

    def _follow(self, course: "Course") -> None:
        """The course alone decides: providers answer well unless it says otherwise."""
        self.card, self.provider.card, self.obeys = course.card, CARDS[course.card], True
        self.oddities.happen = self.oddities.gives_back_twice = False
        self._place()
        course.happens(self)

    def _wander(self, moves: int) -> None:
        for _ in range(moves):
            if self.verdict.breach or self._is_at_rest():
                return
            self._move()

    def _come_to_rest(self) -> None:
        """Faults have stopped."""
        self.calm = self.oddities.are_over = True
        for _ in range(CALM_MOVES):
            if self.verdict.breach or self._is_at_rest():
                break
            self._move()
        else:
            self._breach("it does not come to rest, though faults have stopped")
        if not self.verdict.breach:
            self._breach(judge.at_rest(self.seen, self.provider, self.was_answered))

    def _place(self) -> None:
        self.clock.tell_the_database()
        Circuit.objects.all().delete()
        sku = "NONE" if self.rng.random() < 0.12 and not self.obeys else "PLENTY"
        self.simulator.placed += 1
        number = f"SIM-{self.simulator.placed}"
        with suppress(Killed), transaction.atomic():  # killed after its commit: the order is placed, and nothing is published
            self.order = order = Order.objects.create(
                number=number,
                client=self.simulator.client,
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
        self._tell(f"placed, {self.card}, {sku.lower()}")

    def _is_at_rest(self) -> bool:
        quiet = not self.broker.messages and all(worker.is_idle for worker in self.workers) and not self.provider.air
        return quiet and (SagaState(self.seen.state).is_final or (self.seen.state == PARKED and self.calm))

    def _move(self) -> None:
        moves = self._possible()
        name, act = self.rng.choices([(name, act) for name, act, _ in moves], [weight for *_, weight in moves])[0]
        self.act(name, act)

    def act(self, name: str, act: Callable[[], str]) -> None:
        """One move, and what is seen of it."""
        self.verdict.moves += 1
        self.simulator.commits.forget()
        faultiness = 0.0 if self.calm or self.obeys else self.faultiness
        try:
            with self.simulator.watching(), self.simulator.interruptions.possible(faultiness):
                self._tell(act() or name)
        except Killed:
            self._tell(f"{name}: killed inside its transaction")
            if name in OF_THE_SWEEP:
                self.clocks.sweep_ends()
        except LineBroke:
            self._tell(f"{name}: its line to the database broke")
        except Exception as error:
            self._breach(f"{name} raised {type(error).__name__}: {str(error).splitlines()[0]}")
        if not self.verdict.breach:
            try:
                self._observe(name)
            except DatabaseError as error:
                self._breach(f"after {name} nobody can read: {type(error).__name__}: {str(error).splitlines()[0]}")

    def _possible(self) -> list[tuple[str, Any, float]]:
        moves: list[tuple[str, Any, float]] = []
        idle = [worker for worker in self.workers if worker.is_idle]
        busy = [worker for worker in self.workers if not worker.is_idle]
        if idle and self.broker.messages:
            moves.append(("deliver", lambda: self.deliver(idle[0]), 5))
        if busy:
            moves.append(("go on", lambda: self.go_on(self.rng.choice(busy)), 6))
        if self.provider.air:
            moves.append(("late", self.late, 0.5 if not self.calm else 2))
        alive = bool(self.broker.messages or busy)
        if self.clocks.watch is None:
            moves.append(("a sweep begins", self.clocks.sweep_begins, 1.0 if not self.calm else 5))
        elif self.seen.wake_at is not None and (not alive or not self.calm):
            moves.append(("sweep", self.sweep, 0.5 * self._liking("sweep") if alive else 5))
        elif not moves:
            moves.append(("wait", self._wait, 1))
        if self.clocks.watch is not None and any(circuit["state"] != "closed" or circuit["wakes"] for circuit in self.seen.circuits):
            moves.append(("probe", self.look_after_circuits, 1.5 * self._liking("probe") if not self.calm else 5))
        if not self.calm:
            moves += [(name, act, weight * self.faultiness * self._liking(name)) for name, act, weight in self._faults(busy)]
        if not self.calm and self._somebody_may_decide():
            moves.append(("operator", self._operator, 1.5 if self.seen.state == PARKED else 0.3 * self._liking("operator")))
        if self.looks_up and not self.calm and any(record["state"] in IN_DOUBT for record in self.seen.records):
            moves.append(("look up", self.look_up, 0.5 * self._liking("look up")))
        if self.cancels_left and not self.calm:
            moves.append(("cancel", self.cancel, 0.3 * self._liking("cancel")))
        return moves

    def _somebody_may_decide(self) -> bool:
        waits = bool(self.seen.saga["held_by"]) or any(record["state"] == "in_doubt" for record in self.seen.records)
        return self.seen.state == PARKED or waits

    def _liking(self, name: str) -> float:
        if name not in self.likes:
            self.likes[name] = self.rng.choice((0.1, 0.5, 1.0, 4.0))
        return self.likes[name]

    def _faults(self, busy: list[WorkerThread]) -> list[tuple[str, Any, float]]:
        faults: list[tuple[str, Any, float]] = []
        if self.broker.messages:
            faults += [("lose", self._lose, 1), ("double", self._double, 1)]
        if busy:
            faults += [("kill", lambda: self.kill(self.rng.choice(busy)), 1.5)]
            faults += [("errback", lambda: self._spurious_errback(self.rng.choice(busy)), 0.7)]
        if self.past:
            faults.append(("crash", self.database_crash, 2))
        if any(effect.what == "label" and effect.open_minor and not effect.handed_over for effect in self.provider.effects):
            faults.append(("handed over", self._hand_over, 0.3))
        if self.oddities.happen and self._refundable():
            faults.append(("support", self.support_refunds, 0.7))
        faults.append(("outage", lambda: self.outage(self.rng.choice(OPERATIONS)), 0.5))
        faults.append(("long wait", self.long_wait, 0.15))
        if self.clocks.go_wrong:
            faults.append(("clock", self.clocks.set, 0.7))
        if self.clocks.go_wrong and self.clocks.watch is not None:
            faults.append(("no sweep", self.clocks.sweep_ends, 0.2))
        return faults

    # --- moves ---

    def deliver(self, worker: WorkerThread) -> str:
        message = self.broker.take(self.rng.randrange(len(self.broker.messages)))
        self.carried[worker] = message
        worker.begin(lambda: self._work(worker, message))
        return f"{message} is delivered" + self._stands(worker)

    def go_on(self, worker: WorkerThread) -> str:
        at, message = worker.at, self.carried[worker]
        worker.resume()
        return f"{message} goes on from {at}" + self._stands(worker)

    def _stands(self, worker: WorkerThread) -> str:
        return f", stands {worker.at}" if worker.at else f": {worker.told}"

    def kill(self, worker: WorkerThread) -> str:
        at, message = worker.at, self.carried[worker]
        worker.kill()
        self._begin_a_process()
        heard = self.rng.random() < 0.5
        if heard and not message.errback:
            self.broker.put(message.failed())
        return f"{message} is killed {at}" + (", errback" if heard else "")

    def _spurious_errback(self, worker: WorkerThread) -> str:
        message = self.carried[worker]
        if not message.errback:
            self.broker.put(message.failed())
        return f"an errback of {message} fires while it lives"

    def _lose(self) -> str:
        return f"{self.broker.take(self.rng.randrange(len(self.broker.messages)))} is lost"

    def _double(self) -> str:
        message = self.rng.choice(self.broker.messages)
        self.broker.put(message)
        return f"{message} is doubled"

    def late(self) -> str:
        at, lost = self.rng.randrange(len(self.provider.air)), self.rng.random() < 0.3 and not self.obeys
        key = self.provider.air[at].key.split(":", 1)[1]
        self.provider.land(at, lost=lost)
        return f"the request {key} in the air " + ("is lost" if lost else "lands late")

    def _hand_over(self) -> str:
        for effect in self.provider.effects:
            effect.handed_over = effect.what == "label"
        return "the parcel is handed over"

    def _refundable(self) -> list[Effect]:
        """Charges of which something is left, and about which the journal knows that it has asked. Not once an answer about them is on its way into it, or there:
        what is refunded then, nobody can know.
        """
        payment = self.seen.records[0]
        was_asked = payment["asked_until"] is not None and payment["state"] in ("granted", "in_doubt", "retry_wait")
        if not self.seen.saga["failure"] and not was_asked:
            return []
        if any(self.carried[worker].task == "payment" for worker in self.workers if not worker.is_idle):
            return []
        return [effect for effect in self.provider.effects if effect.what == "charge" and effect.open_minor > 0]

    def support_refunds(self, amount: int = 0) -> str:
        """At the provider's own pages: nobody tells the shop. No person is so fast that a commit of before is not on the disk by then.

        ``amount``: what a course wants to be given back; else the seed draws it.
        """
        self.past = []
        effect = self._refundable()[0]
        given = amount or self.oddities.by_support(effect.open_minor)
        effect.open_minor -= given
        return f"support gives back {given} of {effect.amount}"

    def sweep(self, late_s: float | None = None) -> str:
        """Time goes on to when the sweep looks, or a little further; a probe has just come out, mostly."""
        if told := self.clocks.are_seen():
            return told
        late_s = self.rng.choice((0.0, 1.0, 30.0)) if late_s is None else late_s
        self._pass_time(self._due_at() + (self._until_watching_ends() or late_s))
        if self.clocks.go_wrong and not self.calm and not self.obeys and self.clocks.die.random() < 0.05 * self.faultiness:
            self._tell(f"in the middle of a round {self.clocks.set()}")
        if self.rng.random() < 0.9 or self.calm or self.obeys:
            self._a_probe_comes_out()
        try:
            launch = self._look()
        except recovery.ClockHasJumped as jump:
            self.clocks.note(jump.seconds)
            return self.clocks.move()
        its_commit_may_be_lost = self.simulator.commits.may_be_lost
        told = self._publish_what_the_sweep_found(launch)
        recovery.probes_due()
        self.simulator.commits.may_be_lost = its_commit_may_be_lost
        return told

    def _look(self) -> Launch | None:
        """As a round does: a page is put off first, in a transaction of its own."""
        if recovery.postpone([self.saga], self.clocks.watch):
            return None
        self.simulator.commits.may_be_lost = False
        return recovery.look(self.saga, self.clocks.watch)

    def _due_at(self) -> float:
        """What wakes up later than any rule says is due."""
        assert self.seen.wake_at is not None
        furthest_s = 2 * max(settings.LEASE_S, settings.PATIENCE_CAP_S, settings.BACKOFF_CAP_S)
        due_at = self.seen.wake_at - self.clock.ahead_s
        return due_at if due_at <= self.clock.now + furthest_s else self.clock.now

    def outage(self, name: str) -> str:
        """Orders of others have failed at one operation of the provider."""
        with transaction.atomic():
            for other in range(circuits.ORDERS_THAT_OPEN):
                circuits.failed(name, f"other {other}", -other, "The provider is down.", counts=True)
        return f"{name} is out"

    def look_after_circuits(self) -> str:
        """Time goes on to the next probe, mostly."""
        if told := self.clocks.are_seen():
            return told
        self._pass_time(self.clock.now + (100.0 if self.obeys else self.rng.choice((0.0, 1.0, 100.0))))
        launches = list(recovery.circuit_probes())
        for launch in launches:
            self.broker.publish(launch)
        return "the sweep looks after circuits" + "".join(f", a probe e{launch.epoch}" for launch in launches)

    def _a_probe_comes_out(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE fulfillment_queueprobe SET out_at = shop_now(), sent_at = shop_now(), awaited_since = NULL, unanswered = 0"
            )

    def _until_watching_ends(self) -> float:
        """Once faults have stopped, nobody wants to see a day of watching pass in minutes."""
        watches = self.calm and any(record["state"] == "undo_in_doubt" and record["waits"] > 2 for record in self.seen.records)
        return DAY_S + LAG_S if watches else 0.0

    def _publish_what_the_sweep_found(self, launch: Launch | None) -> str:
        if launch is None:
            return "the sweep looks"
        if not self.calm and not self.obeys and self.rng.random() < 0.05:
            recovery.not_published(launch)
            return "the sweep looks, the broker is down"
        self.broker.publish(launch)
        return f"the sweep looks, launches e{launch.epoch}"

    def _wait(self) -> str:
        if told := self.clocks.are_seen():
            return told
        self._pass_time(self.clock.now + 5)
        return "time passes"

    def long_wait(self, wait_s: float | None = None) -> str:
        if told := self.clocks.are_seen():
            return told
        self._pass_time(self.clock.now + (wait_s or self.rng.choice((40.0, 1000.0, 8000.0, 90_000.0))))
        return "a long time passes"

    def _pass_time(self, to: float) -> None:
        """Requests that a card has promised to be over by then are; a worker before its send is past its lease long before a key is forgotten."""
        self.clock.jump(to)
        self.clocks.time_has_passed()
        self.provider.pass_time()
        self.clock.tell_the_database()

    def cancel(self) -> str:
        self.cancels_left -= 1
        answer = recovery.cancel(self.order.number, "customer")
        self.was_answered.add(answer)
        return f"the customer cancels: {answer}"

    def database_crash(self) -> str:
        journal.put_back(self.rng.choice(self.past))
        self.past = []
        self.seen = journal.read(self.saga)
        return "database crash, a commit that did not wait is lost"

    def _operator(self) -> str:
        """A person who looks first, and tells the truth."""
        saga = Saga.objects.select_related("order").prefetch_related("records").get(pk=self.saga)
        legal = [choice.verb for choice in recovery.choices(saga, True) if choice.verb in judge.OPERATORS]
        if not legal:
            return "the operator waits"
        verb = self.rng.choice(legal)
        given = judge.what_an_operator_gives(verb, saga, self.provider)
        return "the operator looks, and waits" if given is None else self.decides(verb, **given)

    def look_up(self) -> str:
        """A person asks the provider about what is in doubt, and decides nothing. What the shop writes of it waits for the disk, and so do all commits before it."""
        told = self.decides("look_up")
        self.past = []
        return told

    def decides(self, verb: str, **given: Any) -> str:
        """A second person agrees where one is not enough."""
        given = given or ({"evidence": "an old mail"} if verb == "it_happened" else {})
        sentence = ""
        has_proposed = Incident.objects.filter(
            order=self.order, state="open", proposal__user=AMARA.user
        ).exists()  # and was killed before another agreed
        for actor in (BELA,) if has_proposed else (AMARA, BELA):
            request = recovery.Request(
                order=self.order.number, verb=verb, version=recovery.version_of(self.order.pk), actor=actor, reason="simulated", **given
            )
            try:
                answer = recovery.decide(request)
            except recovery.Refused as refused:
                return f"{actor.name}: {verb}, refused: {refused}"
            sentence = f"{actor.name}: {verb}, {answer.outcome}"
            if answer.outcome == "done":
                break
        return sentence

    # --- a worker's work ---

    def _work(self, worker: WorkerThread, message: Message) -> str:
        with self.simulator.watching():
            task = tasks.failed if message.errback else tasks.TASKS[f"fulfillment.{message.task}"]
            task.push_request(chain=[] if message.errback else ["the rest"], id=str(message))
            try:
                told = task.run(**message.arguments())
                goes_on = task.request.chain is not None and not message.errback
            except Rejected as error:
                self.broker.put(message.failed())
                return f"raised {type(error).__name__}, errback"
            except DatabaseError as error:
                if not isinstance(error, LineBroke) and not is_unusable(error):
                    self._breach(f"{message} raised {type(error).__name__}: {error} ({traceback.format_exc(limit=-3)})")
                if not message.errback:
                    self.broker.put(message.failed())
                return "its line to the database broke, errback"
            except Exception as error:
                self._breach(f"{message} raised {type(error).__name__}: {error} ({traceback.format_exc(limit=-3)})")
                return f"raised {type(error).__name__}"
            finally:
                task.pop_request()
            if goes_on and (follow := message.follow()):
                worker.pause("before_publish")
                self.clock.tell_the_database()
                self.broker.put(follow)
            return str(told)

    def boundary(self, boundary: str) -> None:
        """Called by the engine: a worker stands still here; inside a transaction, and in the sweep, it may only die."""
        here = next((worker for worker in self.workers if worker.is_here()), None)
        if here is not None and boundary in PAUSES:
            here.pause(boundary)
            self.clock.tell_the_database()
        elif not self.calm and not self.obeys and boundary != "open" and self.rng.random() < 0.04 * self.faultiness:
            raise Killed

    def _decide(self, name: str, options: Sequence[tuple[str, float]]) -> str:
        """The first option is the harmless one: the only one once faults have stopped."""
        if self.next_fault in [option for option, _ in options]:
            fault, self.next_fault = self.next_fault, ""
            return fault
        if self.obeys:
            return options[0][0]
        if self.calm or (self.rng.random() > self.faultiness * 1.5 and not name.startswith("decline")):
            return options[0][0]
        weights = [weight * (self._liking(option) if at else 1) for at, (option, weight) in enumerate(options)]
        return self.rng.choices([option for option, _ in options], weights)[0]

    # --- what is seen ---

    def _observe(self, name: str) -> None:
        if not self.simulator.commits.wrote and name != "crash":
            self._breach(judge.always(self.seen, self.provider))
            return
        before, after = self.seen, journal.read(self.saga)
        if (before.saga, before.records) != (after.saga, after.records) and name != "crash":
            if name == "look up":
                self._breach("who only asked the provider has changed the order")
            self.past = [*self.past, before] if self.simulator.commits.may_be_lost else []
            self._conforms(before, after)
            self._breach(self.clocks.see(before, after, name))
        self.seen = after
        self._breach(judge.always(after, self.provider))

    def _conforms(self, before: Seen, after: Seen) -> None:
        was, now = before.projection(), after.projection()
        if was == now:
            return
        name = judge.transition(was, now, self.provider.card)
        if name is None:
            self._breach(f"the model has no such transition: {was} → {now}")
        else:
            self.verdict.transitions[name] += 1

    def _breach(self, found: str) -> None:
        if found and not self.verdict.breach:
            self.verdict.breach = found
            self._tell(f"BREACH: {found}")

    def _tell(self, line: str) -> None:
        self.verdict.trace.append(line.replace(self.order.number, "it"))
