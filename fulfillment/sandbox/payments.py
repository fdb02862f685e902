"""The payment provider: charges, refunds, and cancelling by key."""

import secrets
from collections.abc import Callable
from typing import Any

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Refusal
from fulfillment.sandbox.desk import Request, digest
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.magic import PLAIN, TOKENS, Script, script_of_token


class Payments:
    """Each method that takes a ``body`` reads one POST; the desk decides when, and whether, it lands. Raises Problem."""

    def __init__(self, ledger: Ledger, demo_values: bool) -> None:
        self._ledger = ledger
        self._demo_values = demo_values

    def charge(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Take ``amount`` from the card behind ``token``."""
        order, token = fields.text(body, "order"), fields.text(body, "token")
        amount, currency = fields.amount(body), fields.currency(body)

        def land() -> Answer:
            charge_id = f"ch_{secrets.token_hex(8)}"
            self._ledger.write("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, 0)", charge_id, key, order, amount, currency, token)
            self._ledger.enter(order, "charge", key, amount, currency)
            return Answer(201, {"id": charge_id, "order": order, "amount": amount, "currency": currency, "key": key})

        script = script_of_token(token, self._demo_values)
        return Request(key, digest(path, body), land, script, tries_of=key, dies_with_key=True)

    def refund(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Give ``amount`` back; never more than remains captured."""
        charge_id, amount = fields.text(body, "charge"), fields.amount(body)

        def land() -> Answer:
            charge = self._charge("id", charge_id)
            if charge is None:
                raise Refusal(404, "unknown_charge", "There is no such charge.", "charge")
            if amount > charge["amount"] - charge["refunded"]:
                raise Refusal(400, "amount_exceeds_captured", "The refund is more than what remains captured.", "amount")
            self._give_back(charge, amount)
            return Answer(201, {"id": f"re_{secrets.token_hex(8)}", "charge": charge_id, "amount": amount})

        return self._undo(path, key, body, land, self._charge("id", charge_id))

    def cancel_by_key(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Close the door on a charge that may or may not exist: nothing is charged under its key any more, and what was is refunded."""
        do_key, order = fields.text(body, "key"), fields.text(body, "order")

        def land() -> Answer:
            charge = self._charge("key", do_key)
            if charge and charge["order_number"] != order:
                raise Refusal(400, "order_mismatch", "The charge under this key belongs to another order.", "order")
            self._ledger.bury(do_key)
            remaining = charge["amount"] - charge["refunded"] if charge else 0
            if charge and remaining:
                self._give_back(charge, remaining)
            return Answer(200, {"cancelled": do_key, "refunded": remaining})

        return self._undo(path, key, body, land, self._charge("key", do_key))

    def find(self, key: str) -> list[dict[str, Any]]:
        """The charge under ``key``, with what was refunded of it; empty if there is none."""
        charge = self._charge("key", key)
        if charge is None:
            return []
        shown = {name: charge[name] for name in ("id", "amount", "currency", "key", "refunded")}
        return [shown | {"order": charge["order_number"]}]

    def _charge(self, column: str, value: str) -> dict[str, Any] | None:
        return self._ledger.one(f"SELECT * FROM charges WHERE {column} = ?", value)

    def _give_back(self, charge: dict[str, Any], amount: int) -> None:
        self._ledger.write("UPDATE charges SET refunded = refunded + ? WHERE id = ?", amount, charge["id"])
        self._ledger.enter(charge["order_number"], "refund", charge["key"], amount, charge["currency"])

    def _undo(self, path: str, key: str, body: dict[str, Any], land: Callable[[], Answer], charge: dict[str, Any] | None) -> Request:
        """Faults of an undo are counted by charge, over all keys and both ways to undo it."""
        if charge is None:
            return Request(key, digest(path, body), land)
        faults = TOKENS.get(charge["token"], PLAIN).undo_faults
        return Request(key, digest(path, body), land, Script(faults=faults), tries_of=f"undo of {charge['id']}")
