"""The virtual providers: a payment provider and a carrier in memory, with every kind of capabilities and every fault. What these promise, they keep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fulfillment.capabilities import Capabilities
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable
from fulfillment.gateways.lease import check_lease
from fulfillment.gateways.ports import Charge, Label, Refund
from tests.proofs.simulation.oddities import HOME, Oddities

DAY_S = 86_400.0
LAG_S = 15.0
CAPABILITIES = {
    "tombstone": Capabilities(key_window_s=DAY_S, keeps_rejections=True, tombstone=True, lookup_lag_s=LAG_S),
    "forgetful": Capabilities(key_window_s=DAY_S, keeps_rejections=False, tombstone=True, lookup_lag_s=LAG_S),
    "burn": Capabilities(key_window_s=DAY_S, keeps_rejections=True, tombstone=False, lookup_lag_s=LAG_S),
    "watch": Capabilities(key_window_s=DAY_S, keeps_rejections=False, tombstone=False, lookup_lag_s=LAG_S),
    "keyless": Capabilities(key_window_s=0, keeps_rejections=False, tombstone=False, lookup_lag_s=LAG_S),
}


@dataclass
class Effect:
    """A charge or a label; ``open_minor`` of it remains (a label: 1 or 0). ``given_back``: by requests of ours."""

    id: str
    what: str
    key: str
    amount: int
    open_minor: int
    given_back: int = 0
    handed_over: bool = False
    currency: str = HOME


@dataclass(frozen=True)
class InTheAir:
    """A request whose caller has given up, and which may still land, until ``by``."""

    key: str
    by: float
    land: Callable[[], Any]


@dataclass
class Provider:
    """Both roles at once. ``decide(name)`` draws a fault or a decline, as the seed says; ``now()`` is the virtual time in seconds."""

    capabilities: Capabilities
    decide: Callable[[str, Sequence[tuple[str, float]]], str]
    now: Callable[[], float]
    oddities: Oddities
    effects: list[Effect] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    seen_at: dict[str, float] = field(
        default_factory=dict
    )  # each key, for the first time: its window counts from then, also where nothing was remembered
    tombs: set[str] = field(default_factory=set)
    air: list[InTheAir] = field(default_factory=list)
    effects_ever: dict[str, int] = field(default_factory=dict)

    # --- do ---

    def do(self, what: str, key: str, amount: int) -> Effect:
        """A charge or a booking."""
        check_lease()
        fault = self.decide(f"do {what}", (("none", 0.6), ("unavailable", 0.1), ("lost", 0.12), ("air", 0.12), ("garbage", 0.06)))
        if fault == "unavailable":
            raise Unavailable("The provider is down.", code="down")
        if self.capabilities.has_keys and any(flying.key == key for flying in self.air):
            raise Busy("A request with this key is in progress.", code="in_progress")
        if fault == "air":
            by = self.now() + (DAY_S if self.capabilities.has_keys else LAG_S)
            self.air.append(InTheAir(key, by, lambda: self._apply(what, key, amount)))
            raise InDoubt("The provider did not answer in time.", code="timeout")
        outcome = self._apply(what, key, amount)
        if fault in ("lost", "garbage"):
            raise InDoubt("The provider's answer was lost.", code="timeout" if fault == "lost" else "undecodable_answer")
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    def _apply(self, what: str, key: str, amount: int) -> "Effect | Rejected":
        self.seen_at.setdefault(key, self.now())
        if key in self.tombs:
            return Rejected("This key was cancelled.", code="cancelled_by_key")
        if self.capabilities.has_keys and key in self.memory:
            remembered: Effect | Rejected = self.memory[key]
            return remembered
        outcome: Effect | Rejected
        if self.decide(f"decline {what}", (("no", 0.85), ("yes", 0.15))) == "yes":
            outcome = Rejected("Declined.", code="declined")
        else:
            taken, currency = self.oddities.of_charge(amount) if what == "charge" else (amount, HOME)
            outcome = Effect(f"{what}_{len(self.effects)}", what, key, taken, taken, currency=currency)
            self.effects.append(outcome)
            self.effects_ever[key] = self.effects_ever.get(key, 0) + 1
        if self.capabilities.has_keys and (isinstance(outcome, Effect) or self.capabilities.keeps_rejections):
            self.memory[key] = outcome
        return outcome

    # --- compensation ---

    def compensate(self, what: str, find: Callable[[], Effect | None], amount: int | None, key: str, tomb: str | None = None) -> int:
        """Give back, or cancel: what of it was open. ``tomb``: the key that dies with it. A refusal does not wait for what is in the air under its key."""
        check_lease()
        chances = (("none", 0.66), ("unavailable", 0.12), ("lost", 0.12), ("refused", 0.06), ("air", 0.04))
        fault = self.decide(f"compensate {what}", chances)
        if fault == "unavailable":
            raise Unavailable("The provider is down.", code="down")
        if self.capabilities.has_keys and fault != "refused" and any(flying.key == key for flying in self.air):
            raise Busy("A request with this key is in progress.", code="in_progress")
        if fault == "air":
            self.air.append(InTheAir(key, self.now() + LAG_S, lambda: self._compensated(what, find, amount, key, tomb)))
            raise InDoubt("The provider did not answer in time.", code="timeout")
        outcome = self._compensated(what, find, amount, key, tomb, refuses=fault == "refused")
        if fault == "lost":
            raise InDoubt("The provider's answer was lost.", code="timeout")
        if isinstance(outcome, StepError):
            raise outcome
        return outcome

    def _compensated(
        self, what: str, find: Callable[[], Effect | None], amount: int | None, key: str, tomb: str | None, *, refuses: bool = False
    ) -> int | StepError:
        """As remembered under its key, or anew."""
        self.seen_at.setdefault(key, self.now())
        if self.capabilities.has_keys and key in self.memory:
            remembered: int | StepError = self.memory[key]
            return remembered
        outcome = self._give_back(what, find(), amount, refuses)
        if self.capabilities.has_keys and (
            isinstance(outcome, int) or (isinstance(outcome, Rejected) and self.capabilities.keeps_rejections)
        ):
            self.memory[key] = outcome
        if tomb is not None and isinstance(outcome, int):
            self.tombs.add(tomb)
        return outcome

    def _give_back(self, what: str, effect: Effect | None, amount: int | None, refuses: bool) -> int | StepError:
        if effect is None or (effect.open_minor == 0 and not (amount and self.oddities.gives_back_twice)):
            if amount is not None and what == "charge":
                return InDoubt("The refund is more than what remains captured.", code="amount_exceeds_captured")
            return 0
        if effect.handed_over or refuses:
            return Rejected("Refused for good.", code="handed_over" if what == "label" else "refund_declined")
        wanted = effect.open_minor if amount is None else amount
        if wanted > effect.open_minor and not self.oddities.gives_back_twice:
            return InDoubt("The refund is more than what remains captured.", code="amount_exceeds_captured")
        given = self.oddities.of_refund(wanted) if amount is not None else wanted  # a cancel by key promises all of it
        effect.open_minor = max(effect.open_minor - given, 0)
        effect.given_back += given
        return given

    # --- look ---

    def find_effect(self, what: str, key: str) -> Effect | None:
        if self.decide("look", (("none", 0.95), ("unavailable", 0.05))) == "unavailable":
            raise Unavailable("The provider is down.", code="down")
        return self.known(what, key)

    def known(self, what: str, key: str) -> Effect | None:
        mine = [effect for effect in self.effects if (effect.what, effect.key) == (what, key)]
        return next((effect for effect in mine if effect.open_minor), mine[0] if mine else None)

    def by_id(self, effect_id: str) -> Effect | None:
        return next((effect for effect in self.effects if effect.id == effect_id), None)

    # --- time ---

    def land(self, at: int, *, lost: bool) -> None:
        flying = self.air.pop(at)
        if not lost:
            flying.land()

    def pass_time(self) -> None:
        """Whatever was promised to have landed has; keys past their window are forgotten."""
        for flying in [flying for flying in self.air if flying.by <= self.now()]:
            self.air.remove(flying)
            flying.land()
        flying_keys = {flying.key for flying in self.air}
        for key, since in list(self.seen_at.items()):
            if self.now() - since > self.capabilities.key_window_s and key not in flying_keys:
                del self.seen_at[key]
                self.memory.pop(key, None)


@dataclass(frozen=True)
class VirtualPayments:
    """A PaymentGateway over the history's provider."""

    provider: Provider

    @property
    def capabilities(self) -> Capabilities:
        return self.provider.capabilities

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        return _charge(self.provider.do("charge", key, amount_minor))

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        given = self.provider.compensate("charge", lambda: self.provider.by_id(charge_id), amount_minor, key)
        charge = self.provider.by_id(charge_id)
        return Refund(id=f"re_{charge_id}", charge_id=charge_id, amount_minor=given, currency=charge.currency if charge else "")

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        return self.provider.compensate("charge", lambda: self.provider.known("charge", do_key), None, key, tomb=do_key)

    def find(self, key: str) -> Charge | None:
        found = self.provider.find_effect("charge", key)
        return _charge(found) if found else None

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        return iter(())


@dataclass(frozen=True)
class VirtualCarrier:
    """A CarrierGateway over the history's provider."""

    provider: Provider

    @property
    def capabilities(self) -> Capabilities:
        return self.provider.capabilities

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        return _label(self.provider.do("label", key, 1))

    def cancel(self, label_id: str, *, key: str) -> None:
        self.provider.compensate("label", lambda: self.provider.by_id(label_id), None, key)

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        given = self.provider.compensate("label", lambda: self.provider.known("label", do_key), None, key, tomb=do_key)
        found = self.provider.known("label", do_key)
        return found.id if given and found else None

    def find(self, key: str) -> Label | None:
        found = self.provider.find_effect("label", key)
        return _label(found) if found else None

    def listing(self, since: datetime | None = None) -> Iterator[Label]:
        return iter(())


def _charge(effect: Effect) -> Charge:
    refunded = effect.amount - effect.open_minor
    return Charge(id=effect.id, amount_minor=effect.amount, currency=effect.currency, refunded_minor=refunded, key=effect.key)


def _label(effect: Effect) -> Label:
    return Label(id=effect.id, tracking=f"T{effect.id}", cancelled=not effect.open_minor, key=effect.key)
