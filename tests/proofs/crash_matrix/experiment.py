"""One case, from arming its boundary to judging its order."""

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
from django.db import connection

from fulfillment import answers, recovery
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.step import Step
from orders.management.placing_client import ShopClient
from orders.models import Order
from orders.operators import Actor
from orders.timeline import TimelineEntry
from tests.proofs.crash_matrix import invariants as judging
from tests.proofs.crash_matrix import outside_refund as support
from tests.proofs.crash_matrix import placement as placing
from tests.proofs.crash_matrix.cases import (
    FORGOTTEN,
    NONE,
    NOTHING_TAKEN,
    OTHER_AMOUNT,
    OTHER_CURRENCY,
    REFUNDED_OUTSIDE,
    REFUSED_ONCE,
    Case,
)
from tests.proofs.crash_matrix.proxy import FAULTS as PROXIED
from tests.proofs.crash_matrix.script import Story, story_of
from tests.proofs.crash_matrix.stack import CRASH, FAULTS

POLL_S = 0.1
REST_WITHIN_S = 90.0
ZOMBIE_WAKES_S = 0.4  # between the process that stood still and the rest of its worker
REJECTIONS = ("rejected", "undo_failed")
PROVER = Actor(
    user=0, name="prove", permissions=frozenset({"fulfillment.decide_retry"})
)  # nobody is authenticated: that is the doors' business
TOLD_AS = {  # the codes by which the order's history tells of an answer that is not what was asked for
    OTHER_AMOUNT: (
        answers.OTHER_AMOUNT,
        answers.PARTLY_GIVEN_BACK,
        "remainder_changed",
    ),  # the last: found by whoever comes after a worker that died with it
    OTHER_CURRENCY: (answers.OTHER_CURRENCY,),
    NOTHING_TAKEN: (answers.UNUSABLE,),
}


class Stopped(Exception):
    """The run is being ended; this case is not over."""


@dataclass
class Field:
    """What all cases share: the run directory with its folders, the shop's door, the steps, what to buy and how."""

    run_dir: Path
    shop: ShopClient
    steps: Sequence[Step]
    lease_s: float
    token: str
    sku: str
    placing: threading.Lock = field(default_factory=threading.Lock)  # an opening has no number yet: nobody else may reach its boundary
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case. ``reasons`` is empty where it held; ``happened`` False: its crash or its fault was never met, so it proves nothing."""

    case: Case
    order: str
    ended: str
    seconds: float
    injected: int
    happened: bool
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.happened and not self.reasons


class Trial:
    """``run`` once. Everything that this case has armed is disarmed at its end, and whatever it has frozen goes on."""

    def __init__(self, case: Case, field: Field) -> None:
        self.case = case
        self.field = field
        self.story: Story = story_of(case, field.steps, field.token, field.sku)
        self.number = ""
        self.key = uuid.uuid4().hex
        self.armed: list[Path] = []
        self.frozen: list[int] = []
        self.placer: BaseProcess | None = None
        self.hit_at: float | None = None
        self.cancelled = self.retried = self.disbelieved = False

    def run(self) -> Outcome:
        begun = time.monotonic()
        try:
            self._place_in_the_open() if self.case.boundary == "open" else self._place()
            rested = self._watch(begun + REST_WITHIN_S)
            return self._judge(rested, time.monotonic() - begun)
        finally:
            self._clean_up()
            connection.close()

    # --- arming and placing ---

    def _arm(self, number: str) -> None:
        crash, faults = self.field.run_dir / CRASH, self.field.run_dir / FAULTS
        for point, action in self.story.provokes:
            self._write(crash / f"{point}.{number}", action)
        for name, times in self._holds(number).items():
            self._write(faults / name, str(times))
        if self.case.fault in PROXIED:
            self._write(self._fault_file(number), "")
        self._write(crash / self.case.crash_file(number), self.case.action)

    def _holds(self, number: str) -> dict[str, int]:
        return {f"{fault}.{number}.{step}.{direction}": times for fault, step, direction, times in self.story.holds}

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.armed.append(file)

    def _fault_file(self, number: str) -> Path:
        return self.field.run_dir / FAULTS / f"{self.case.fault}.{number}.{self.case.step}.{self.case.direction}"

    def _place(self) -> None:
        with self.field.placing:
            self.number = placing.next_number()
        self._arm(self.number)
        self._send_the_order()

    def _send_the_order(self) -> None:
        """Until it is committed, or whoever places it has died: an opening must not meet a boundary that was armed for another one."""
        with self.field.placing:
            self.placer = placing.begin(self.number, self.story.body(), self.key, self.story.pins)
            while self.placer.is_alive() and not Order.objects.filter(number=self.number).exists():
                self._go_on_or_stop()
                time.sleep(0.02)

    def _place_in_the_open(self) -> None:
        """Through the shop's front door, by a client that repeats its request until it is answered. Nobody else places meanwhile, so the numbers are known."""
        with self.field.placing:
            last = int(placing.next_number().removeprefix("ORD-"))
            for number in range(last + 1, last + 4):
                self._arm(f"ORD-{number}")
            with ThreadPoolExecutor(1) as client:
                placed = client.submit(self._ask_until_answered)
                while not placed.done():
                    self._look_at_the_hit()
                    time.sleep(0.05)
            self.number = placed.result()
            self._look_at_the_hit()
            self._hit_file().unlink(missing_ok=True)
            own, others = _split(self.armed, self.number)
            self._disarm(others)
            self.armed = own

    def _ask_until_answered(self) -> str:
        while True:
            self._go_on_or_stop()
            with contextlib.suppress(httpx.HTTPError):
                return str(self.field.shop.place(self.story.body(), self.key)["number"])
            time.sleep(POLL_S)

    # --- until it is at rest ---

    def _watch(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            self._go_on_or_stop()
            self._look_at_the_hit()
            self._repeat_the_request()
            self._cancel_if_it_is_time()
            self._retry_if_a_person_would()
            self._somebody_believes_in_it()
            if not self.frozen and self._is_at_rest() and not self._is_still_to_land():
                return True
            time.sleep(POLL_S)
        return False

    def _go_on_or_stop(self) -> None:
        if self.field.stopping.is_set():
            raise Stopped

    def _repeat_the_request(self) -> None:
        """A client whose request was not answered sends it again, under the same key."""
        if self.placer is not None and not self.placer.is_alive():
            died, self.placer = self.placer.exitcode != 0, None
            if died:
                self._send_the_order()

    def _look_at_the_hit(self) -> None:
        """Where it has stood still: the whole worker with it, so that nobody ends it; and on after its lease, it first."""
        if self.hit_at is None and (found := self._hit()) is not None:
            self.hit_at = time.monotonic()
            if self.case.action == "stop":
                self._freeze(found)
        if self.frozen and self.hit_at is not None and time.monotonic() - self.hit_at > self.field.lease_s + 0.7:
            self._thaw()

    def _hit(self) -> int | None:
        """The pid of whoever reached the boundary."""
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            return int(self._hit_file().read_text().split()[0])
        return None

    def _hit_file(self) -> Path:
        return self.field.run_dir / CRASH / f"{self.case.crash_file(self.number)}.hit"

    def _freeze(self, pid: int) -> None:
        self.frozen = [pid]
        if self.case.boundary != "open":  # there it is one of several web processes
            with contextlib.suppress(ProcessLookupError):
                leader = os.getpgid(pid)
                os.killpg(leader, signal.SIGSTOP)
                self.frozen.append(-leader)

    def _thaw(self) -> None:
        for target in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGCONT)
            time.sleep(ZOMBIE_WAKES_S)
        self.frozen = []

    def _cancel_if_it_is_time(self) -> None:
        if not self.story.cancel_at or self.cancelled:
            return
        tried = StepRecord.objects.filter(saga__order__number=self.number, name=self.story.cancel_at, tries__gt=0)
        if tried.exists():
            self.cancelled = self._cancel()

    def _cancel(self) -> bool:
        """Whether it was answered; the web process may have died just now."""
        try:
            self.field.shop.cancel(self.number)
        except httpx.HTTPStatusError as told:
            return told.response.status_code < 500
        except httpx.TransportError:
            return False
        return True

    def _retry_if_a_person_would(self) -> None:
        saga = Saga.objects.filter(order__number=self.number).first()
        if not self.story.is_retried or self.retried or saga is None or saga.state != SagaState.NEEDS_ATTENTION:
            return
        version = recovery.version_of(saga.order_id)
        request = recovery.Request(order=self.number, verb="retry", version=version, actor=PROVER, reason="the bank would do it now")
        with contextlib.suppress(recovery.Refused):  # something was noted just now: seen at the next look
            recovery.decide(request)
            self.retried = True

    def _somebody_believes_in_it(self) -> None:
        """The provider is asked first, and shows what support has done; once the person was refused, answers come through again."""
        if self.story.refunded_at and not self.disbelieved:
            self.disbelieved = support.refunds_and_says_that_it_happened(self.number, self.story.refunded_at)
            if self.disbelieved:
                self._disarm(self.field.run_dir / FAULTS / hold for hold in self._holds(self.number))

    def _is_at_rest(self) -> bool:
        if self.story.is_retried and not self.retried:
            return False
        state = Saga.objects.filter(order__number=self.number).values_list("state", flat=True).first()
        return state is not None and (SagaState(state).is_final or state == SagaState.NEEDS_ATTENTION)

    def _is_still_to_land(self) -> bool:
        """A request that the proxy holds back."""
        hits = (self.field.run_dir / FAULTS).glob(f"late_landing.{self.number}.*.hit")
        return any(text.count("struck") > text.count("landed") for text in (file.read_text() for file in hits))

    def _notes(self) -> list[str]:
        file = self._fault_file(self.number)
        hits = file.with_name(f"{file.name}.hit")
        return hits.read_text().splitlines() if hits.exists() else []

    # --- the end ---

    def _judge(self, rested: bool, seconds: float) -> Outcome:
        crashed, lied = self.hit_at is not None, self._lied()
        missing = [f"{what} was never met" for what, met in ((self.case.boundary, crashed), (self.case.fault, lied)) if not met]
        wrong = [*judging.breaches(self.number, self.story.ends), *self._left_open()] if rested else [_not_at_rest(self.number)]
        ended = judging.ended_as(Order.objects.select_related("saga").get(number=self.number)) if rested else "open"
        return Outcome(
            case=self.case,
            order=self.number,
            ended=ended,
            seconds=round(seconds, 1),
            injected=int(crashed) + int(lied and self.case.fault != NONE),
            happened=not missing,
            reasons=(*wrong, *(f"did not happen: {what}" for what in missing)),
        )

    def _left_open(self) -> Iterator[str]:
        """A rejection that its provider does not keep ends no doubt: whatever may still land must find a closed door."""
        step = self.story.closed_behind
        state = StepRecord.objects.filter(saga__order__number=self.number, name=step).values_list("state", flat=True).first()
        if step and state != StepState.UNDONE:
            yield f"{step} was rejected by a provider that does not keep rejections, and is {state}: what lands late finds an open door"

    def _lied(self) -> bool:
        """The provider's fault took place."""
        fault, history = self.case.fault, TimelineEntry.objects.filter(order__number=self.number, name=self.case.step)
        if fault in (FORGOTTEN, REFUSED_ONCE):
            return history.filter(to_state__in=REJECTIONS).exists()
        if fault in TOLD_AS:
            return history.filter(code__in=TOLD_AS[fault]).exists()
        if fault == REFUNDED_OUTSIDE:
            return support.was_refused(self.number)
        return fault == NONE or bool(self._notes())

    def _clean_up(self) -> None:
        self._thaw()
        if self.placer is not None:
            self.placer.kill()
        self._disarm(self.armed)

    def _disarm(self, files: Iterable[Path]) -> None:
        """Another order may get the number that an opening has not used."""
        for file in files:
            file.unlink(missing_ok=True)


def _not_at_rest(number: str) -> str:
    steps = StepRecord.objects.filter(saga__order__number=number).values_list("name", "state", "error_code")
    saga = Saga.objects.filter(order__number=number).first()
    stands = ", ".join(" ".join(words).strip() for words in steps)
    return f"not at rest after {REST_WITHIN_S:g} s: {saga.state if saga else 'no saga'}, {stands}"


@contextlib.contextmanager
def ended_by(stopping: threading.Event) -> Iterator[None]:
    """If the block is left by an exception or Ctrl-C, every trial that still runs ends at its next look."""
    try:
        yield
    except BaseException:
        stopping.set()
        raise


def _split(files: Iterable[Path], order: str) -> tuple[list[Path], list[Path]]:
    """Those that are armed for this order, and the rest."""
    found = list(files)
    own = [file for file in found if order in file.name.split(".")]
    return own, [file for file in found if file not in own]
