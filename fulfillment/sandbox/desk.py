"""The desk: every POST passes here, and one key has one effect and one answer, however often and however parallel it comes."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fulfillment.sandbox.answers import Answer, Problem, Refusal
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.magic import PLAIN, Fault, Script, declined


@dataclass(frozen=True)
class Request:
    """A request that was read and found well-formed.

    ``land`` does it, inside the transaction that also remembers the answer, or raises Refusal. ``tries_of``: what the
    tries of ``script`` are counted by. ``dies_with_key``: a tombstone on its own key refuses it, on arrival and on landing.
    """

    key: str
    digest: str
    land: Callable[[], Answer]
    script: Script = PLAIN
    tries_of: str = ""
    dies_with_key: bool = False


def digest(path: str, body: dict[str, Any]) -> str:
    """The same for the same request, whatever the order of its fields."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()


class Desk:
    """Serves one ledger. ``time_scale`` multiplies every delay."""

    def __init__(self, ledger: Ledger, time_scale: float) -> None:
        self._ledger = ledger
        self._time_scale = time_scale
        self._running: dict[str, str] = {}  # key → digest; gone with the process, as is the work itself

    async def serve(self, request: Request) -> Answer:
        """The answer to ``request``, remembered or new. Raises Problem."""
        if known := self._known(request):
            return known
        self._running[request.key] = request.digest
        try:
            return await self._perform(request)
        finally:
            del self._running[request.key]

    def _known(self, request: Request) -> Answer | None:
        digest, answer = self._ledger.remembered(request.key) or (self._running.get(request.key), None)
        if digest not in (None, request.digest):
            raise Problem(422, "key_reused", "This Idempotency-Key was used with another request.")
        if self._is_dead(request):
            raise declined("cancelled_by_key")
        if request.key in self._running:
            raise Problem(409, "in_progress", "A request with this Idempotency-Key is still in progress.")
        return answer

    async def _perform(self, request: Request) -> Answer:
        fault = self._next_fault(request)
        if fault is Fault.ERROR:
            raise Problem(503, "unavailable", "The provider is overloaded. Nothing was done.")
        if fault is Fault.LOST:
            return Answer(0, {}, silent=True)
        if request.script.delay_s:
            await asyncio.sleep(request.script.delay_s * self._time_scale)
        answer = self._land(request)
        return Answer(0, {}, silent=True) if fault is Fault.MUTE else answer

    def _next_fault(self, request: Request) -> Fault | None:
        faults = request.script.faults
        number = self._ledger.count_try(request.tries_of) if faults else 1
        return faults[number - 1] if number <= len(faults) else None

    def _land(self, request: Request) -> Answer:
        """Effect and answer, in one transaction; a refusal is an answer too."""
        with self._ledger.transaction():
            answer = self._decide(request)
            self._ledger.remember(request.key, request.digest, answer)
        return answer

    def _decide(self, request: Request) -> Answer:
        try:
            if self._is_dead(request):
                raise declined("cancelled_by_key")
            if request.script.decline:
                raise declined(request.script.decline)
            return request.land()
        except Refusal as refusal:
            return refusal.answer()

    def _is_dead(self, request: Request) -> bool:
        return request.dies_with_key and self._ledger.is_buried(request.key)
