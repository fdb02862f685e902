"""One case as an experiment (fault injection): its boundary and its faults are armed, its order is placed, watched until it rests, and judged."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess

import httpx
from django.db import connection

from fulfillment import answer_checks
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.proofs.crash_matrix import invariants, outside_refund, placement
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
from tests.proofs.crash_matrix.injection import Injection
from tests.proofs.crash_matrix.outcome import Outcome
from tests.proofs.crash_matrix.people import People
from tests.proofs.crash_matrix.script import script_of
from tests.proofs.crash_matrix.testbed import Stopped, Testbed

POLL_S = 0.1
REST_WITHIN_S = 90.0
ZOMBIE_WAKES_S = 0.4  # between the process that stood still and the rest of its worker
REJECTIONS = ("rejected", "compensation_failed")
RECORDED_AS = {  # the codes under which the order's history records an answer that is not what was asked for
    OTHER_AMOUNT: (
        answer_checks.OTHER_AMOUNT,
        answer_checks.PARTLY_GIVEN_BACK,
        "remainder_changed",
    ),  # the last: found by whoever comes after a worker that died with it
    OTHER_CURRENCY: (answer_checks.OTHER_CURRENCY,),
    NOTHING_TAKEN: (answer_checks.UNUSABLE,),
}


class Experiment:
    """``run`` once. Everything that this case has armed is disarmed at its end, and whatever it has frozen goes on."""

    def __init__(self, case: Case, testbed: Testbed) -> None:
        self.case = case
        self.testbed = testbed
        self.script = script_of(case, testbed.steps, testbed.token, testbed.sku)
        self.number = ""
        self.key = uuid.uuid4().hex
        self.injection = Injection(case, self.script, testbed.run_dir)
        self.people = People(self.script, testbed.shop, self.injection)
        self.frozen: list[int] = []
        self.placer: BaseProcess | None = None
        self.hit_at: float | None = None

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

    def _place(self) -> None:
        with self.testbed.placing:
            self.number = placement.next_number()
        self.injection.arm(self.number)
        self._send_the_order()

    def _send_the_order(self) -> None:
        """Until it is committed, or whoever places it has died: an opening must not meet a boundary that was armed for another one."""
        with self.testbed.placing:
            self.placer = placement.begin(self.number, self.script.body(), self.key, self.script.pins)
            while self.placer.is_alive() and not Order.objects.filter(number=self.number).exists():
                self._go_on_or_stop()
                time.sleep(0.02)

    def _place_in_the_open(self) -> None:
        """Through the shop's API, by a client that repeats its request until it is answered. Nobody else places meanwhile, so the numbers are known."""
        with self.testbed.placing:
            last = int(placement.next_number().removeprefix("ORD-"))
            for number in range(last + 1, last + 4):
                self.injection.arm(f"ORD-{number}")
            with ThreadPoolExecutor(1) as client:
                placed = client.submit(self._ask_until_answered)
                while not placed.done():
                    self._handle_the_hit()
                    time.sleep(0.05)
            self.number = placed.result()
            self._handle_the_hit()
            self.injection.hit_file(self.number).unlink(missing_ok=True)
            self.injection.keep_only(self.number)

    def _ask_until_answered(self) -> str:
        while True:
            self._go_on_or_stop()
            with contextlib.suppress(httpx.HTTPError):
                return str(self.testbed.shop.place(self.script.body(), self.key)["number"])
            time.sleep(POLL_S)

    # --- until it is at rest ---

    def _watch(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            self._go_on_or_stop()
            self._handle_the_hit()
            self._repeat_the_request()
            self.people.act(self.number)
            if not self.frozen and self._is_at_rest() and not self.injection.is_still_to_land(self.number):
                return True
            time.sleep(POLL_S)
        return False

    def _go_on_or_stop(self) -> None:
        if self.testbed.stopping.is_set():
            raise Stopped

    def _repeat_the_request(self) -> None:
        """A client whose request was not answered sends it again, under the same key."""
        if self.placer is not None and not self.placer.is_alive():
            died, self.placer = self.placer.exitcode != 0, None
            if died:
                self._send_the_order()

    def _handle_the_hit(self) -> None:
        """Where it has stood still: the whole worker with it, so that nobody ends it; and on after its lease, it first."""
        if self.hit_at is None and (found := self.injection.hit(self.number)) is not None:
            self.hit_at = time.monotonic()
            if self.case.action == "stop":
                self._freeze(found)
        if self.frozen and self.hit_at is not None and time.monotonic() - self.hit_at > self.testbed.lease_s + 0.7:
            self._thaw()

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

    def _is_at_rest(self) -> bool:
        if self.script.is_retried and not self.people.retried:
            return False
        state = Saga.objects.filter(order__number=self.number).values_list("state", flat=True).first()
        return state is not None and (SagaState(state).is_final or state == SagaState.NEEDS_ATTENTION)

    # --- the end ---

    def _judge(self, rested: bool, seconds: float) -> Outcome:
        crashed, lied = self.hit_at is not None, self._lied()
        missing = [f"{what} was never met" for what, met in ((self.case.boundary, crashed), (self.case.fault, lied)) if not met]
        wrong = [*invariants.breaches(self.number, self.script.ends), *self._left_open()] if rested else [_not_at_rest(self.number)]
        ended = invariants.ended_as(Order.objects.select_related("saga").get(number=self.number)) if rested else "open"
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
        """A rejection that its provider does not keep ends no doubt: whatever may still land must find a tombstone."""
        step = self.script.closed_behind
        state = StepRecord.objects.filter(saga__order__number=self.number, name=step).values_list("state", flat=True).first()
        if step and state != StepState.COMPENSATED:
            yield f"{step} was rejected by a provider that does not keep rejections, and is {state}: what lands late finds no tombstone"

    def _lied(self) -> bool:
        """The provider's fault took place."""
        fault, history = self.case.fault, TimelineEntry.objects.filter(order__number=self.number, name=self.case.step)
        if fault in (FORGOTTEN, REFUSED_ONCE):
            return history.filter(to_state__in=REJECTIONS).exists()
        if fault in RECORDED_AS:
            return history.filter(code__in=RECORDED_AS[fault]).exists()
        if fault == REFUNDED_OUTSIDE:
            return outside_refund.was_refused(self.number)
        return fault == NONE or bool(self.injection.notes(self.number))

    def _clean_up(self) -> None:
        self._thaw()
        if self.placer is not None:
            self.placer.kill()
        self.injection.disarm()


def _not_at_rest(number: str) -> str:
    steps = StepRecord.objects.filter(saga__order__number=number).values_list("name", "state", "error_code")
    saga = Saga.objects.filter(order__number=number).first()
    stands = ", ".join(" ".join(words).strip() for words in steps)
    return f"not at rest after {REST_WITHIN_S:g} s: {saga.state if saga else 'no saga'}, {stands}"
