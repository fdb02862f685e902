"""The carrier: labels, cancelling them, cancelling by key, and the list of labels."""

import secrets
from collections.abc import Callable
from typing import Any

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Refusal
from fulfillment.sandbox.fields import Page
from fulfillment.sandbox.idempotency import Area, Request, digest
from fulfillment.sandbox.ledger import Ledger, now
from fulfillment.sandbox.magic import PLAIN, POSTAL_CODES, script_of_postal_code
from fulfillment.sandbox.profile import Profile

ADDRESS = ("name", "line1", "country")
WHERE_THERE_IS_ONE = ("city", "state", "postal_code")  # not every country has them
MAX_QUANTITY = 10_000

Row = dict[str, Any]


class Carrier:
    """Each method that takes a ``body`` reads one POST; the idempotency store decides when, and whether, it lands. Raises Problem."""

    def __init__(self, ledger: Ledger, profile: Profile, demo_values: bool) -> None:
        self._ledger = ledger
        self._profile = profile.name
        self._demo_values = demo_values

    def book(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """One label for all the parcels of an order."""
        order, postal_code = fields.text(body, "order"), _address(body).get("postal_code", "")
        _check_parcels(body)

        def land() -> Answer:
            label_id, tracking = self.enter(order, key, postal_code)
            return Answer(201, {"id": label_id, "tracking": tracking, "order": order, "key": key})

        script = script_of_postal_code(postal_code, self._demo_values)
        return Request(Area.LABELS, key, digest(path, body), land, script, tries_of=key, dies_with_key=True)

    def cancel(self, path: str, key: str, body: dict[str, Any], label_id: str) -> Request:
        """Cancel a booked label; twice is once."""

        def land() -> Answer:
            label = self._label(label_id)
            if label is None:
                raise Refusal(404, "unknown_label", "There is no such label.")
            self.withdraw(label)
            return Answer(200, {"id": label_id, "cancelled": True})

        return self._compensate(path, key, body, land, self._label(label_id))

    def cancel_by_key(self, path: str, key: str, body: dict[str, Any]) -> Request:
        """Cancel a label that may or may not exist: nothing is booked under its key any more, and what was is cancelled."""
        do_key, order = fields.text(body, "key"), fields.text(body, "order")

        def land() -> Answer:
            labels = self.under(do_key)
            if any(label["order_number"] != order for label in labels):
                raise Refusal(400, "order_mismatch", "The label under this key belongs to another order.", "order")
            self._ledger.bury(self._profile, do_key)
            for label in labels:
                self.withdraw(label)
            return Answer(200, {"cancelled": do_key, "label": labels[0]["id"] if labels else None})

        return self._compensate(path, key, body, land, next(iter(self.under(do_key)), None))

    def find(self, key: str) -> dict[str, Any]:
        """What is under ``key``, cancelled or not, oldest first."""
        return {"data": [_shown(label) for label in self.under(key)]}

    def page(self, asked: Page) -> dict[str, Any]:
        """A part of the list of all labels, oldest first. Raises Problem."""
        labels, has_more = self._ledger.page("labels", self._profile, asked)
        return {"data": [_shown(label) for label in labels], "has_more": has_more}

    def enter(self, order: str, key: str, postal_code: str) -> tuple[str, str]:
        """The booking took place: the label's id and its tracking number."""
        label_id, tracking = f"lb_{secrets.token_hex(8)}", f"MO{secrets.randbelow(10**10):010}"
        self._ledger.write(
            "INSERT INTO labels (profile, id, key, order_number, tracking, postal_code, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(self._profile, label_id, key, order, tracking, postal_code, now()),
        )
        self._ledger.enter(order, "label", key)
        return label_id, tracking

    def withdraw(self, label: Row) -> None:
        """The label is cancelled; twice is once."""
        if not label["cancelled"]:
            self._ledger.write("UPDATE labels SET cancelled = 1 WHERE id = ?", label["id"])
            self._ledger.enter(label["order_number"], "cancel_label", label["key"])

    def under(self, key: str) -> list[Row]:
        return self._ledger.by_key("labels", self._profile, key)

    def _label(self, label_id: str) -> Row | None:
        return self._ledger.by_id("labels", self._profile, label_id)

    def _compensate(self, path: str, key: str, body: dict[str, Any], land: Callable[[], Answer], label: Row | None) -> Request:
        """Faults of a compensation are counted by label, over all keys and both ways to compensate it."""
        if label is None:
            return Request(Area.LABEL_CANCELS, key, digest(path, body), land)
        script = POSTAL_CODES.get(label["postal_code"], PLAIN).of_compensation()
        return Request(Area.LABEL_CANCELS, key, digest(path, body), land, script, tries_of=f"compensation of {label['id']}")


def _shown(label: Row) -> dict[str, Any]:
    shown = {name: label[name] for name in ("id", "tracking", "key")}
    return shown | {"order": label["order_number"], "cancelled": bool(label["cancelled"])}


def _address(body: dict[str, Any]) -> dict[str, str]:
    address = fields.present(body, "address")
    if not isinstance(address, dict):
        raise fields.invalid("address", "must be an object.")
    names = [*ADDRESS, *(name for name in WHERE_THERE_IS_ONE if name in address)]
    return {name: fields.text(address, name, "address.") for name in names}


def _check_parcels(body: dict[str, Any]) -> None:
    parcels = fields.present(body, "parcels")
    if not isinstance(parcels, list) or not parcels:
        raise fields.invalid("parcels", "must be a list that is not empty.")
    for index, parcel in enumerate(parcels):
        if not isinstance(parcel, dict):
            raise fields.invalid(f"parcels.{index}", "must be an object.")
        fields.text(parcel, "sku", f"parcels.{index}.")
        fields.whole(parcel, "quantity", MAX_QUANTITY, f"parcels.{index}.")
