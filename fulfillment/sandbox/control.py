"""The control: what tests and demos do behind the providers' backs. It is served only where test values are accepted."""

from collections.abc import Mapping
from typing import Any

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Problem
from fulfillment.sandbox.carrier import Carrier
from fulfillment.sandbox.idempotency import Area
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.payments import Payments


class Control:
    """``down`` is shared with the idempotency stores, and gone with the process; ``providers`` are both roles of each profile, by its name."""

    def __init__(self, ledger: Ledger, down: set[Area], providers: Mapping[str, tuple[Payments, Carrier]]) -> None:
        self._ledger = ledger
        self._down = down
        self._providers = providers
        self._plants = {"charge": self._charge, "refund": self._refund, "label": self._label, "cancel_label": self._cancel_label}

    def show(self) -> dict[str, Any]:
        return {"down": sorted(self._down)}

    def take_down(self, body: dict[str, Any]) -> Answer:
        """Exactly the areas in ``down`` are down from now on. Raises Problem."""
        down = _areas(body)
        self._down.clear()
        self._down.update(down)
        return Answer(200, self.show())

    def forget(self, body: dict[str, Any]) -> Answer:
        """The answer under ``key`` is pruned, as providers do when its window is over: the same key is a new request. Raises Problem."""
        profile, key = self._profile(body), fields.text(body, "key")
        return Answer(200, {"forgotten": self._ledger.forget(profile, key)})

    def plant(self, body: dict[str, Any]) -> Answer:
        """An effect that nobody asked for took place. Raises Problem."""
        operation = fields.text(body, "operation")
        if operation not in self._plants:
            raise fields.invalid("operation", f"must be one of {', '.join(self._plants)}.")
        payments, carrier = self._providers[self._profile(body)]
        order, key = fields.text(body, "order"), fields.text(body, "key")
        with self._ledger.transaction():
            return Answer(201, {"id": self._plants[operation](payments, carrier, order, key, body)})

    # --- what can be planted: each returns the id of its charge or label --------------------------------------------------

    def _charge(self, payments: Payments, _: Carrier, order: str, key: str, body: dict[str, Any]) -> str:
        return payments.enter(order, key, fields.amount(body), fields.currency(body), token="")

    def _refund(self, payments: Payments, _: Carrier, order: str, key: str, body: dict[str, Any]) -> str:
        amount, charges = fields.amount(body), [charge for charge in payments.under(key) if charge["order_number"] == order]
        if not charges:
            raise _nothing_there("charge")
        charge = next((charge for charge in charges if charge["refunded"] < charge["amount"]), charges[0])
        payments.give_back(charge, amount)
        return str(charge["id"])

    def _label(self, _: Payments, carrier: Carrier, order: str, key: str, body: dict[str, Any]) -> str:
        return carrier.enter(order, key, postal_code="")[0]

    def _cancel_label(self, _: Payments, carrier: Carrier, order: str, key: str, body: dict[str, Any]) -> str:
        labels = [label for label in carrier.under(key) if label["order_number"] == order and not label["cancelled"]]
        if not labels:
            raise _nothing_there("label")
        carrier.withdraw(labels[0])
        return str(labels[0]["id"])

    def _profile(self, body: dict[str, Any]) -> str:
        """The name of a profile; the plain one if none is given."""
        name = body.get("profile", "")
        if not isinstance(name, str) or name not in self._providers:
            raise fields.invalid("profile", f"must be one of {', '.join(map(repr, self._providers))}.")
        return name


def _areas(body: dict[str, Any]) -> set[Area]:
    words = fields.present(body, "down")
    if not isinstance(words, list):
        raise fields.invalid("down", "must be a list.")
    for index, word in enumerate(words):
        if word not in list(Area):
            raise fields.invalid(f"down.{index}", f"must be one of {', '.join(Area)}.")
    return {Area(word) for word in words}


def _nothing_there(what: str) -> Problem:
    return Problem(404, f"unknown_{what}", f"There is no {what} of this order under this key to undo.", "key")
