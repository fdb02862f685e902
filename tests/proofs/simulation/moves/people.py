"""People: the customer cancels, and operators decide, honestly."""

from typing import Any

from fulfillment import recovery
from fulfillment.models import DECIDED_BY_PERSONS, Saga
from orders.incidents import Incident
from orders.operators import Actor
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.honest_operator import OPERATORS, what_an_operator_gives

# Here nobody authenticates: that is the entry points' business, and this is what they hand over.
AMARA, BELA = (
    Actor(user=user, name=name, permissions=frozenset(f"fulfillment.decide_{verb}" for verb in DECIDED_BY_PERSONS))
    for user, name in ((1, "amara"), (2, "bela"))
)


class People:
    def __init__(self, state: HistoryState) -> None:
        self.state = state

    def cancel(self) -> str:
        self.state.cancels_left -= 1
        answer = recovery.cancel(self.state.order.number, "customer")
        self.state.was_answered.add(answer)
        return f"the customer cancels: {answer}"

    def operator(self) -> str:
        """A person who asks the provider first, and says what is true."""
        saga = Saga.objects.select_related("order").prefetch_related("records").get(pk=self.state.saga)
        legal = [choice.verb for choice in recovery.choices(saga, True) if choice.verb in OPERATORS]
        if not legal:
            return "the operator waits"
        verb = self.state.rng.choice(legal)
        given = what_an_operator_gives(verb, saga, self.state.provider)
        return "the operator inspects it, and waits" if given is None else self.decides(verb, **given)

    def look_up(self) -> str:
        """A person asks the provider about what is in doubt, and decides nothing. What the shop writes of it waits for the disk, and so do all commits before it."""
        answered = self.decides("look_up")
        self.state.past = []
        return answered

    def decides(self, verb: str, **given: Any) -> str:
        """A second person agrees where one is not enough."""
        given = given or ({"evidence": "an old mail"} if verb == "it_happened" else {})
        sentence = ""
        has_proposed = Incident.objects.filter(
            order=self.state.order, state="open", proposal__user=AMARA.user
        ).exists()  # and was killed before another agreed
        for actor in (BELA,) if has_proposed else (AMARA, BELA):
            request = recovery.Request(
                order=self.state.order.number,
                verb=verb,
                version=recovery.version_of(self.state.order.pk),
                actor=actor,
                reason="simulated",
                **given,
            )
            try:
                answer = recovery.decide(request)
            except recovery.Refused as refused:
                return f"{actor.name}: {verb}, refused: {refused}"
            sentence = f"{actor.name}: {verb}, {answer.outcome}"
            if answer.outcome == "done":
                break
        return sentence
