"""The answer to "why?": one sentence for operators, one for everybody else, what comes next, and what a person may decide."""

from dataclasses import dataclass
from datetime import datetime

from fulfillment.recovery import Choice
from orders.incidents import Incident

WITH_A_PERSON = "This is being looked at by a person."
THE_SWEEP, WHOEVER_HOLDS_IT, A_RELEASE = "the sweep", "whoever holds its rows", "a process of release "
OUTSIDE = {THE_SWEEP: "the shop", WHOEVER_HOLDS_IT: "our own database"}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``sentence`` is for operators, ``public`` for everybody else.

    ``next_at``: when the sweep inspects it at the latest. None: nothing is left to do, or a person must decide, or the sweep has not come at that instant.
    ``blocked_on``: what has to come first, for operators ("a person", "the provider", "a worker"). Empty: nothing. ``version``: what a decision must name.
    ``history_pruned_at``: when the history of the order was removed, except for what people have decided. None: it was not.
    """

    sentence: str
    public: str
    since: datetime | None
    next_at: datetime | None
    blocked_on: str = ""
    version: int = 0
    choices: tuple[Choice, ...] = ()
    incidents: tuple[Incident, ...] = ()
    history_pruned_at: datetime | None = None

    @property
    def public_blocked_on(self) -> str:
        """``blocked_on`` for everybody who is no operator. It names no inner part of the shop."""
        return "newer workers" if self.blocked_on.startswith(A_RELEASE) else OUTSIDE.get(self.blocked_on, self.blocked_on)

    @property
    def runbook(self) -> str:
        """Of the incident with most money at risk. Empty: there is none."""
        return self.incidents[0].runbook if self.incidents else ""
