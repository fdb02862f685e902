"""The carrier: labels, cancelling them, and cancelling by key."""

import secrets
from typing import Any

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Refusal
from fulfillment.sandbox.desk import Request, digest
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.magic import script_of_postal_code

ADDRESS = ("name", "line1", "city", "postal_code", "country")
MAX_QUANTITY = 10_000


class Carrier:
    """Each method that takes a ``body`` reads one POST; the desk decides when, and whether, it lands. Raises Problem."""

    def __init__(self, ledger: Ledger, demo_values: bool) -> None:
        self._ledger = ledger
        self._demo_values = demo_values

    def book(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """One label for all the parcels of an order."""
        order, address = fields.text(body, "order"), _address(body)
        _check_parcels(body)

        def land() -> Answer:
            label_id, tracking = f"lb_{secrets.token_hex(8)}", f"MO{secrets.randbelow(10**10):010}"
            self._ledger.write("INSERT INTO labels VALUES (?, ?, ?, ?, 0)", label_id, key, order, tracking)
            self._ledger.enter(order, "label", key)
            return Answer(201, {"id": label_id, "tracking": tracking, "order": order, "key": key})

        script = script_of_postal_code(address["postal_code"], self._demo_values)
        return Request(key, digest(path, body), land, script, tries_of=key, dies_with_key=True)

    def cancel(self, path: str, key: str, body: dict[str, Any], label_id: str) -> Request:
        """Cancel a booked label; twice is once."""

        def land() -> Answer:
            label = self._label("id", label_id)
            if label is None:
                raise Refusal(404, "unknown_label", "There is no such label.")
            self._withdraw(label)
            return Answer(200, {"id": label_id, "cancelled": True})

        return Request(key, digest(path, body), land)

    def cancel_by_key(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Close the door on a label that may or may not exist: nothing is booked under its key any more, and what was is cancelled."""
        do_key, order = fields.text(body, "key"), fields.text(body, "order")

        def land() -> Answer:
            label = self._label("key", do_key)
            if label and label["order_number"] != order:
                raise Refusal(400, "order_mismatch", "The label under this key belongs to another order.", "order")
            self._ledger.bury(do_key)
            if label:
                self._withdraw(label)
            return Answer(200, {"cancelled": do_key, "label": label["id"] if label else None})

        return Request(key, digest(path, body), land)

    def find(self, key: str) -> list[dict[str, Any]]:
        """The label under ``key``, cancelled or not; empty if there is none."""
        label = self._label("key", key)
        if label is None:
            return []
        shown = {name: label[name] for name in ("id", "tracking", "key")}
        return [shown | {"order": label["order_number"], "cancelled": bool(label["cancelled"])}]

    def _label(self, column: str, value: str) -> dict[str, Any] | None:
        return self._ledger.one(f"SELECT * FROM labels WHERE {column} = ?", value)

    def _withdraw(self, label: dict[str, Any]) -> None:
        if not label["cancelled"]:
            self._ledger.write("UPDATE labels SET cancelled = 1 WHERE id = ?", label["id"])
            self._ledger.enter(label["order_number"], "cancel_label", label["key"])


def _address(body: dict[str, Any]) -> dict[str, str]:
    address = fields.present(body, "address")
    if not isinstance(address, dict):
        raise fields.invalid("address", "must be an object.")
    return {name: fields.text(address, name, "address.") for name in ADDRESS}


def _check_parcels(body: dict[str, Any]) -> None:
    parcels = fields.present(body, "parcels")
    if not isinstance(parcels, list) or not parcels:
        raise fields.invalid("parcels", "must be a list that is not empty.")
    for index, parcel in enumerate(parcels):
        if not isinstance(parcel, dict):
            raise fields.invalid(f"parcels.{index}", "must be an object.")
        fields.text(parcel, "sku", f"parcels.{index}.")
        fields.whole(parcel, "quantity", MAX_QUANTITY, f"parcels.{index}.")
