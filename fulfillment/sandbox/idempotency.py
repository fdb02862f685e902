"""Idempotency: every POST passes here, and one key has one effect and one answer, however often and however parallel it comes.

As far as the profile promises it: without keys every request is a new one.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fulfillment.sandbox.answers import Answer, Problem, Refusal
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.magic import LATE_S, PLAIN, SILENT, Fault, Script, declined
from fulfillment.sandbox.profile import Profile

SILENCE = Answer(0, {}, silent=True)


class Area(StrEnum):
    """What can be down by itself; cancelling by key belongs to the compensations."""

    CHARGES = "charges"
    REFUNDS = "refunds"
    LABELS = "labels"
    LABEL_CANCELS = "label_cancels"


@dataclass(frozen=True)
class Request:
    """A request that was read and found well-formed.

    ``land`` does it, inside the transaction that also remembers the answer, or raises Refusal. ``tries_of``: what the
    tries of ``script`` are counted by. ``dies_with_key``: a tombstone on its own key refuses it, on arrival and on landing.
    """

    area: Area
    key: str
    digest: str
    land: Callable[[], Answer]
    script: Script = PLAIN
    tries_of: str = ""
    dies_with_key: bool = False


def digest(path: str, body: dict[str, Any]) -> str:
    """The same for the same request, whatever the order of its fields."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()


class IdempotencyStore:
    """Serves one profile on the ledger. ``down``: what is down now. ``time_scale`` multiplies every delay."""

    def __init__(self, ledger: Ledger, profile: Profile, down: Collection[Area], time_scale: float) -> None:
        self._ledger = ledger
        self._profile = profile
        self._down = down
        self._time_scale = time_scale
        self._running: dict[str, str] = {}  # key → digest; gone with the process, as is the work itself

    async def serve(self, request: Request) -> Answer:
        """The answer to ``request``, remembered or new. Raises Problem."""
        if request.area in self._down:
            raise _overloaded()
        if known := self._known(request):
            return known
        with self._held(request):
            return await self._perform(request)

    @contextmanager
    def _held(self, request: Request) -> Iterator[None]:
        """The key is in progress meanwhile. One that overtakes leaves it to whoever came first; without keys nothing is held."""
        holds = self._profile.has_keys and request.key not in self._running
        if holds:
            self._running[request.key] = request.digest
        try:
            yield
        finally:
            if holds:
                del self._running[request.key]

    def _known(self, request: Request) -> Answer | None:
        digest, answer = self._remembered(request.key) or (self._running.get(request.key), None)
        if digest not in (None, request.digest):
            raise Problem(422, "key_reused", "This Idempotency-Key was used with another request.")
        if self._is_dead(request):
            raise declined("cancelled_by_key")
        if request.key in self._running and not request.script.overtakes:
            raise Problem(409, "in_progress", "A request with this Idempotency-Key is still in progress.")
        return SILENCE if answer and request.script.then is Fault.LOST else answer

    async def _perform(self, request: Request) -> Answer:
        fault = self._next_fault(request)
        if fault is Fault.ERROR:
            raise _overloaded()
        if fault is Fault.LOST:
            return SILENCE
        delay_s = LATE_S if fault is Fault.LATE else request.script.delay_s
        if delay_s:
            await asyncio.sleep(delay_s * self._time_scale)
        answer = self._land(request, fault)
        return SILENCE if fault in SILENT else answer

    def _next_fault(self, request: Request) -> Fault | None:
        faults = request.script.faults
        number = self._ledger.count_try(self._profile.name, request.tries_of) if faults else 1
        return faults[number - 1] if number <= len(faults) else request.script.then

    def _land(self, request: Request, fault: Fault | None) -> Answer:
        """Effect and answer, in one transaction; a refusal is an answer too. Whoever was overtaken finds what was answered meanwhile."""
        with self._ledger.transaction():
            if known := self._remembered(request.key):
                return known[1]
            answer = self._decide(request, fault)
            if self._is_kept(answer):
                self._ledger.remember(self._profile.name, request.key, request.digest, answer)
        return answer

    def _decide(self, request: Request, fault: Fault | None) -> Answer:
        try:
            if self._is_dead(request):
                raise declined("cancelled_by_key")
            if decline := request.script.declined_as if fault is Fault.DECLINED else request.script.decline:
                raise declined(decline)
            return request.land()
        except Refusal as refusal:
            return refusal.answer()

    def _remembered(self, key: str) -> tuple[str, Answer] | None:
        return self._ledger.remembered(self._profile.name, key)

    def _is_kept(self, answer: Answer) -> bool:
        return self._profile.has_keys and (answer.status < 400 or self._profile.keeps_rejections)

    def _is_dead(self, request: Request) -> bool:
        return request.dies_with_key and self._ledger.is_buried(self._profile.name, request.key)


def _overloaded() -> Problem:
    return Problem(503, "unavailable", "The provider is overloaded. Nothing was done.")
