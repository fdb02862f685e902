"""The world outside: late requests, parcels that leave, support that refunds, a provider that is out, a database that crashes."""

from django.db import transaction

from fulfillment import circuit as circuits
from tests.proofs.simulation import journal
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.provider import Effect


class Outside:
    def __init__(self, state: HistoryState) -> None:
        self.state = state

    def late(self) -> str:
        at, lost = self.state.rng.randrange(len(self.state.provider.air)), self.state.rng.random() < 0.3 and not self.state.obeys
        key = self.state.provider.air[at].key.split(":", 1)[1]
        self.state.provider.land(at, lost=lost)
        return f"the request {key} in the air " + ("is lost" if lost else "lands late")

    def hand_over(self) -> str:
        for effect in self.state.provider.effects:
            effect.handed_over = effect.what == "label"
        return "the parcel is handed over"

    def refundable(self) -> list[Effect]:
        """Charges of which something is left, and about which the journal knows that it has asked. Not once an answer about them is on its way into it, or there:
        what is refunded then, nobody can know.
        """
        payment = self.state.seen.records[0]
        was_asked = payment["asked_until"] is not None and payment["state"] in ("scheduled", "in_doubt", "retry_wait")
        if not self.state.seen.saga["failure"] and not was_asked:
            return []
        if any(self.state.carried[worker].task == "payment" for worker in self.state.workers if not worker.is_idle):
            return []
        return [effect for effect in self.state.provider.effects if effect.what == "charge" and effect.open_minor > 0]

    def support_refunds(self, amount: int = 0) -> str:
        """At the provider's own pages: the shop hears nothing of it. No person is so fast that a commit of before is not on the disk by then.

        ``amount``: what a scripted case wants to be given back; else the seed draws it.
        """
        self.state.past = []
        effect = self.refundable()[0]
        given = amount or self.state.oddities.by_support(effect.open_minor)
        effect.open_minor -= given
        return f"support gives back {given} of {effect.amount}"

    def outage(self, name: str) -> str:
        """Orders of others have failed at one operation of the provider."""
        with transaction.atomic():
            for other in range(circuits.ORDERS_THAT_OPEN):
                circuits.failed(name, f"other {other}", -other, "The provider is down.", counts=True)
        return f"{name} is out"

    def database_crash(self) -> str:
        journal.put_back(self.state.rng.choice(self.state.past))
        self.state.past = []
        self.state.seen = journal.read(self.state.saga)
        return "database crash, a commit that did not wait is lost"
