"""What a reconciliation says: findings, and how much was read."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orders.incidents import IncidentKind
from orders.money import money

if TYPE_CHECKING:
    from fulfillment.reconciliation.explained_money import Explained


class Rule(StrEnum):
    """What is checked; the value is stable and becomes the incident's code. docs/reconcile.md says what each means."""

    # of an order: what its providers hold
    CHARGE_NOBODY_OWNS = "charge_nobody_owns"
    LABEL_NOBODY_OWNS = "label_nobody_owns"
    CHARGED_TOO_MUCH = "charged_too_much"
    BOOKED_TWICE = "booked_twice"
    LATE = "late"  # the engine opens it too, when a worker that was taken over reports such an effect
    REFUNDED_THOUGH_FULFILLED = "refunded_though_fulfilled"
    REFUNDED_TWICE = "refunded_twice"  # the engine opens it too, when a worker that was taken over reports such a refund
    MONEY_MISSING = "money_missing"
    LABEL_MISSING = "label_missing"
    ONE_EFFECT_PER_KEY = "one_effect_per_key"
    LEDGER_AGREES = "ledger_agrees"
    # of an order: its own rows
    STATUS_AGREES_WITH_SAGA = "status_agrees_with_saga"
    EVERY_COMPENSATION_HAS_ENDED = "every_compensation_has_ended"
    FACT_RECORDED_ONCE = "fact_recorded_once"
    RESERVATIONS_CLOSED = "reservations_closed"
    HISTORY_REBUILDS_THE_JOURNAL = "history_rebuilds_the_journal"
    UNREADABLE = "unreadable"
    # of the shop as a whole
    NOT_LISTED = "not_listed"
    UNKNOWN_ORDER = "unknown_order"
    FORGOTTEN_ORDERS = "forgotten_orders"
    UNEXPLAINED = "unexplained"  # ``explained_money`` names it in its query
    STOCK_ADDS_UP = "stock_adds_up"
    STOCK_IS_CONSERVED = "stock_is_conserved"
    EACH_EFFECT_ONCE = "each_effect_once"
    DUE_OR_INCIDENT = "due_or_incident"
    NO_FAILURE_IS_SHOWN_EARLY = "no_failure_is_shown_early"
    EVERY_ORDER_HAS_A_SAGA = "every_order_has_a_saga"

    @property
    def kind(self) -> IncidentKind:
        if self is Rule.FORGOTTEN_ORDERS:
            return IncidentKind.FORGOTTEN_ORDERS
        return IncidentKind.ORPHAN_PAYMENT if self in HELD_FOR_NOBODY else IncidentKind.MISMATCH


HELD_FOR_NOBODY = (
    *(Rule.CHARGE_NOBODY_OWNS, Rule.LABEL_NOBODY_OWNS, Rule.CHARGED_TOO_MUCH, Rule.BOOKED_TWICE),
    *(Rule.LATE, Rule.UNKNOWN_ORDER),
)


@dataclass(kw_only=True)
class Finding:
    """One thing that is off. ``amount_minor``: what is at risk, in ``currency``'s minor units.

    ``subject``: the order's number, or the SKU; ``order_id`` is None where no order of ours is concerned. ``repaired``: it was compensated in this very run.
    """

    subject: str
    rule: Rule
    found: str
    step: str = ""
    amount_minor: int = 0
    currency: str
    order_id: int | None = None
    repaired: bool = False

    @property
    def kind(self) -> IncidentKind:
        return self.rule.kind

    @property
    def fingerprint(self) -> tuple[str, str, str, str]:
        """What distinguishes two open incidents."""
        return self.subject, self.kind, self.step, self.rule

    @property
    def sentence(self) -> str:
        risk = f" ({money(self.amount_minor, self.currency)} at risk)" if self.amount_minor else ""
        return f"{self.subject}: {self.rule}: {self.found}{risk}{'; undone' if self.repaired else ''}"

    def as_json(self) -> dict[str, Any]:
        shown = ("subject", "rule", "kind", "step", "found", "amount_minor", "currency", "repaired")
        return {name: getattr(self, name) for name in shown}


@dataclass
class Report:
    """``judged`` orders were at rest, ``open`` ones still moved, ``waiting`` ones are a person's. ``findings`` is empty when all is well.

    ``entries``: charges and labels that the providers listed. ``gone``: orders of a provider that this code no longer knows; they cannot be judged.
    ``silent``: orders that were not judged because a provider of theirs does not list what it holds; ``unreadable``: whose rows cannot be read.
    ``money``: where it is, by currency.
    """

    judged: int = 0
    open: int = 0
    waiting: int = 0
    gone: int = 0
    silent: int = 0
    unreadable: int = 0
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    money: "list[Explained]" = field(default_factory=list)

    @property
    def repaired(self) -> int:
        return sum(finding.repaired for finding in self.findings)

    @property
    def is_whole(self) -> bool:
        """Every order at rest was compared with every provider of its own."""
        return not (self.silent or self.unreadable or any(finding.rule is Rule.NOT_LISTED for finding in self.findings))

    @property
    def sentence(self) -> str:
        return (
            f"{self.judged} orders judged, {self.open} open, {self.waiting} waiting for a person, {self.entries} provider entries read, "
            f"{len(self.findings)} findings, {self.repaired} repaired"
        )

    @property
    def money_sentence(self) -> str:
        """One line, whatever the number of currencies."""
        return f"Money: {' | '.join(one.sentence for one in self.money) or 'nothing was captured'}"

    def as_json(self) -> dict[str, Any]:
        counts = ("judged", "open", "waiting", "gone", "silent", "unreadable", "entries", "repaired")
        money = {one.currency: one.as_json() for one in self.money}
        return {name: getattr(self, name) for name in counts} | {
            "money": money,
            "findings": [finding.as_json() for finding in self.findings],
        }
