"""A claim is the right of one worker to record the outcome of one try. It holds the fencing token of the journal.

Note: the fencing token. It has two parts. ``epoch`` (on the saga) numbers the runs of a saga: whatever takes a step from a worker raises it, as a take-over, a
retry, turning back or a decision of a person does. ``claim`` (on the step's record) is random, and written by the one start that has won. Every start asks for its
epoch. Every recording of an outcome asks for both. So a worker that was taken over, however late it wakes up, moves nothing (``late_outcomes``).
A local step commits its start and its outcome in one transaction, under the saga's row lock. There the epoch is enough.
"""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime

from fulfillment import circuit
from fulfillment.capabilities import Capabilities
from fulfillment.clock import lease_s
from fulfillment.engine.action import Action
from fulfillment.engine.journal import find_action
from fulfillment.engine.launch import Launch
from fulfillment.gateways import capabilities_of
from fulfillment.models import Saga
from fulfillment.step import Compensation, Receipt
from orders.models import Order


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Somebody has seen the database's clock go as it should for ``for_s`` seconds, until ``ago_s`` seconds before the start. What came then nobody has seen."""

    for_s: float
    ago_s: float = 0.0

    def seen_to_pass(self, quiet_s: float) -> float:
        """At least so many of ``quiet_s`` have truly passed. Whatever was asked before somebody watched may have been sent until a lease later."""
        return min(quiet_s - self.ago_s, self.for_s - lease_s())


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a start returns: the fencing token (``epoch`` and ``claim``), and what the provider call needs to know. Times are in seconds."""

    saga: int
    epoch: int
    placed: Order  # the order, as the start has read it
    name: str
    compensating: bool
    claim: uuid.UUID | None
    key: str
    do_key: str
    tries: int
    receipt: Receipt | None
    amount_minor: int | None
    doubt: bool = False
    age_s: float = 0.0  # since it was first scheduled under ``do_key``
    quiet_s: float | None = None  # since no try of the step can have sent anything; None: there was none
    own_quiet_s: float | None = None  # the same of tries of this action: of a compensation, of earlier tries to compensate
    refused_keys: tuple[str, ...] = ()  # of earlier attempts, which were refused; the last one first
    refused_quiet_s: float | None = None  # since none of these can have sent anything; None: there was none
    started_at: datetime | None = None
    watched_s: float = math.inf  # for how long the process that started it has seen the database's clock go as it should
    swept: Watched | None = None  # what the sweep has seen of it, which may be more
    role: str = ""
    gateway: str = ""
    version: int = 1
    troubled: bool = False  # when it started, something had failed at its circuit, or the circuit was open
    is_probe: bool = False
    is_last: bool = False  # of its plan

    @property
    def order(self) -> str:
        return self.placed.number

    @property
    def order_id(self) -> int:
        return self.placed.pk

    @property
    def circuit(self) -> str:
        """The name of its circuit. Empty: the step calls no provider."""
        return circuit.name_of(self.role, self.gateway, self.compensating)

    @property
    def compensation(self) -> Compensation:
        currency = self.placed.currency
        return Compensation(key=self.key, do_key=self.do_key, receipt=self.receipt, amount_minor=self.amount_minor, currency=currency)

    def seen_to_pass(self, quiet_s: float | None) -> float | None:
        """``quiet_s``, but at most what this process or the sweep has itself seen pass: the database's clock may have been set since.

        A process that has just begun has seen nothing. If only its own watch counted, an order would wait once more for each process that it comes to.
        """
        if quiet_s is None:
            return None
        watches = [Watched(for_s=self.watched_s), *([self.swept] if self.swept else [])]
        return max(watched.seen_to_pass(quiet_s) for watched in watches)

    @property
    def is_once(self) -> bool:
        """Whatever is sent under its key until its lease ends is one effect. Either the provider remembers the key for so long, or there is no provider.

        The age counts from the step's schedule. The key of a compensation is younger than that.
        """
        capabilities = self.capabilities
        return capabilities is None or (capabilities.has_keys and self.age_s + lease_s() < capabilities.key_window_s)

    @property
    def key_may_be_forgotten(self) -> bool:
        """The provider knows keys, and this one is so old that it may not remember it until the lease ends."""
        return self.capabilities is not None and self.capabilities.has_keys and not self.is_once

    @property
    def surely_lost_quiet_s(self) -> float | None:
        """Seconds since no try that the journal has forgotten can have sent anything. None: there can be none.

        Such a start was lost with a database that has crashed, and its worker has called all the same. A start that can be lost so is of a key that is remembered
        until its lease ends (``is_once``).
        """
        if not self.key_may_be_forgotten or self.capabilities is None:
            return None
        return self.seen_to_pass(self.age_s - self.capabilities.key_window_s)

    @property
    def capabilities(self) -> Capabilities | None:
        """The capabilities of the provider that the plan pins. None: the step calls no provider."""
        return capabilities_of(self.role, self.gateway) if self.role else None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of recording an outcome. ``mine`` False: somebody else owns the step, and no state was changed.

    ``turned``: the saga has left the path of its chain (it turned back, or a compensation failed). Publish this one.
    """

    mine: bool
    turned: Launch | None = None


def action_of(saga: Saga, claim: Claim) -> Action:
    """The action of which ``claim`` is one try. Raises UnknownStep."""
    return find_action(saga, claim.name, claim.compensating)
