"""The payment provider: charges, refunds, cancelling by key, and the list of charges."""

import secrets
from collections.abc import Callable
from typing import Any

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Refusal
from fulfillment.sandbox.fields import Page
from fulfillment.sandbox.idempotency import Area, Request, digest
from fulfillment.sandbox.ledger import Ledger, now
from fulfillment.sandbox.magic import PLAIN, TOKENS, Script, script_of_token
from fulfillment.sandbox.profile import Profile

Row = dict[str, Any]


class Payments:
    """Each method that takes a ``body`` reads one POST; the idempotency store decides when, and whether, it lands. Raises Problem."""

    def __init__(self, ledger: Ledger, profile: Profile, demo_values: bool) -> None:
        self._ledger = ledger
        self._profile = profile.name
        self._demo_values = demo_values

    def charge(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Take ``amount`` from the card behind ``token``; what was taken is answered, whatever it is."""
        order, token = fields.text(body, "order"), fields.text(body, "token")
        amount, currency = fields.amount(body), fields.currency(body)
        script = script_of_token(token, self._demo_values)
        taken, taken_in = amount if script.takes_minor is None else script.takes_minor, script.takes_in or currency

        def land() -> Answer:
            charge_id = self.enter(order, key, taken, taken_in, token)
            return Answer(201, {"id": charge_id, "order": order, "amount": taken, "currency": taken_in, "key": key})

        return Request(Area.CHARGES, key, digest(path, body), land, script, tries_of=key, dies_with_key=True)

    def refund(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Give ``amount`` back; never more than remains captured. What was given back is answered."""
        charge_id, amount = fields.text(body, "charge"), fields.amount(body)

        def land() -> Answer:
            charge = self._charge(charge_id)
            if charge is None:
                raise Refusal(404, "unknown_charge", "There is no such charge.", "charge")
            given = _given_back(charge, amount)
            self.give_back(charge, given)
            return Answer(201, {"id": f"re_{secrets.token_hex(8)}", "charge": charge_id, "amount": given})

        return self._compensate(path, key, body, land, self._charge(charge_id))

    def cancel_by_key(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Cancel a charge that may or may not exist: nothing is charged under its key any more, and what was is refunded."""
        do_key, order = fields.text(body, "key"), fields.text(body, "order")

        def land() -> Answer:
            charges = self.under(do_key)
            if any(charge["order_number"] != order for charge in charges):
                raise Refusal(400, "order_mismatch", "The charge under this key belongs to another order.", "order")
            self._ledger.bury(self._profile, do_key)
            remaining = [(charge, charge["amount"] - charge["refunded"]) for charge in charges]
            for charge, amount in remaining:
                if amount:
                    self.give_back(charge, amount)
            return Answer(200, {"cancelled": do_key, "refunded": sum(amount for _, amount in remaining)})

        return self._compensate(path, key, body, land, next(iter(self.under(do_key)), None))

    def find(self, key: str) -> dict[str, Any]:
        """What is under ``key``, with what was refunded of it, oldest first."""
        return {"data": [_shown(charge) for charge in self.under(key)]}

    def page(self, asked: Page) -> dict[str, Any]:
        """A part of the list of all charges, oldest first. Raises Problem."""
        charges, has_more = self._ledger.page("charges", self._profile, asked)
        return {"data": [_shown(charge) for charge in charges], "has_more": has_more}

    def enter(self, order: str, key: str, amount: int, currency: str, token: str) -> str:
        """The charge took place: its id."""
        charge_id = f"ch_{secrets.token_hex(8)}"
        self._ledger.write(
            "INSERT INTO charges (profile, id, key, order_number, amount, currency, token, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._profile, charge_id, key, order, amount, currency, token, now()),
        )
        self._ledger.enter(order, "charge", key, amount, currency)
        return charge_id

    def give_back(self, charge: Row, amount: int) -> None:
        """The refund took place. Raises Refusal."""
        if amount > charge["amount"] - charge["refunded"]:
            raise Refusal(400, "amount_exceeds_captured", "The refund is more than what remains captured.", "amount")
        self._ledger.write("UPDATE charges SET refunded = refunded + ? WHERE id = ?", amount, charge["id"])
        self._ledger.enter(charge["order_number"], "refund", charge["key"], amount, charge["currency"])

    def under(self, key: str) -> list[Row]:
        return self._ledger.by_key("charges", self._profile, key)

    def _charge(self, charge_id: str) -> Row | None:
        return self._ledger.by_id("charges", self._profile, charge_id)

    def _compensate(self, path: str, key: str, body: dict[str, Any], land: Callable[[], Answer], charge: Row | None) -> Request:
        """Faults of a compensation are counted by charge, over all keys and both ways to compensate it."""
        if charge is None:
            return Request(Area.REFUNDS, key, digest(path, body), land)
        return Request(
            Area.REFUNDS, key, digest(path, body), land, _script_of_compensation(charge), tries_of=f"compensation of {charge['id']}"
        )


def _script_of_compensation(charge: Row) -> Script:
    return TOKENS.get(charge["token"], PLAIN).of_compensation()


def _given_back(charge: Row, amount: int) -> int:
    first = _script_of_compensation(charge).takes_minor
    return amount if first is None or charge["refunded"] else min(first, amount)


def _shown(charge: Row) -> dict[str, Any]:
    return {name: charge[name] for name in ("id", "amount", "currency", "key", "refunded")} | {"order": charge["order_number"]}
