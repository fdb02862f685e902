"""The provider sandbox as a payment provider and as a carrier (``manage.py sandbox``; its paths stand in one table in fulfillment/sandbox/server.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from fulfillment.errors import InDoubt
from fulfillment.gateways import http
from fulfillment.gateways.ports import Charge, Label, Refund

T = TypeVar("T")

# The codes with which the sandbox declares that it did not, and will not, do what was asked. Every other refusal is in doubt.
DECLINES = frozenset({"card_declined", "unknown_token", "insufficient_funds", "address_refused", "cancelled_by_key", "test_value_refused"})


@dataclass(frozen=True)
class _Sandbox:
    """Where it is, and the seconds that one call may take in all."""

    url: str
    deadline_s: float

    def _post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        return http.request("POST", self.url + path, json=body, key=key, deadline_s=self.deadline_s, declines=DECLINES)

    def _look_up(self, path: str, key: str) -> dict[str, Any] | None:
        """The one thing under ``key``, or None."""
        answer = http.request("GET", f"{self.url}{path}?{urlencode({'key': key})}", deadline_s=self.deadline_s)
        found = _field(answer, "data", list)
        if not all(isinstance(thing, dict) for thing in found):
            raise _incomplete("data")
        return found[0] if found else None


class SandboxPayments(_Sandbox):
    """A PaymentGateway. The provider remembers keys for ever, rejections too, and keeps tombstones by key."""

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        body = {"order": order_number, "amount": amount_minor, "currency": currency, "token": token}
        return _charge(self._post("/v1/charges", body, key))

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        answer = self._post("/v1/refunds", {"charge": charge_id, "amount": amount_minor}, key)
        return Refund(id=_field(answer, "id", str), charge_id=_field(answer, "charge", str), amount_minor=_field(answer, "amount", int))

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        answer = self._post("/v1/charges/cancel_by_key", {"key": do_key, "order": order_number}, key)
        return _field(answer, "refunded", int)

    def find(self, key: str) -> Charge | None:
        found = self._look_up("/v1/charges", key)
        return None if found is None else _charge(found)


class SandboxCarrier(_Sandbox):
    """A CarrierGateway. The carrier remembers keys for ever, rejections too, and keeps tombstones by key."""

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        body = {"order": order_number, "address": dict(address), "parcels": [dict(parcel) for parcel in parcels]}
        return _label(self._post("/v1/labels", body, key))

    def cancel(self, label_id: str, *, key: str) -> None:
        self._post(f"/v1/labels/{quote(label_id, safe='')}/cancel", {}, key)

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        answer = self._post("/v1/labels/cancel_by_key", {"key": do_key, "order": order_number}, key)
        return None if answer.get("label") is None else _field(answer, "label", str)

    def find(self, key: str) -> Label | None:
        found = self._look_up("/v1/labels", key)
        return None if found is None else _label(found)


def _charge(answer: dict[str, Any]) -> Charge:
    refunded = _field(answer, "refunded", int) if "refunded" in answer else 0
    amount, currency = _field(answer, "amount", int), _field(answer, "currency", str)
    return Charge(id=_field(answer, "id", str), amount_minor=amount, currency=currency, refunded_minor=refunded)


def _label(answer: dict[str, Any]) -> Label:
    return Label(id=_field(answer, "id", str), tracking=_field(answer, "tracking", str), cancelled=answer.get("cancelled") is True)


def _field(answer: dict[str, Any], name: str, kind: type[T]) -> T:
    """What the answer must hold. A success without it tells us nothing: InDoubt."""
    value = answer.get(name)
    if type(value) is not kind:
        raise _incomplete(name)
    return value


def _incomplete(name: str) -> InDoubt:
    return InDoubt(f"The provider's answer has no usable {name}.", code="undecodable_answer")
