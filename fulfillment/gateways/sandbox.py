"""Sandbox gateways: the provider sandbox as payment providers and as carriers (``manage.py sandbox``; its paths are in fulfillment/sandbox/server.py).

It plays several providers that promise different things (docs/providers.md). Capabilities and a path prefix make one of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from fulfillment.capabilities import Capabilities
from fulfillment.errors import InDoubt
from fulfillment.gateways import http
from fulfillment.gateways.ports import Charge, Label, Refund

T = TypeVar("T")
Found = TypeVar("Found", Charge, Label)

LOOKUP_LAG_S = 15.0  # at time scale 1: whatever was sent has landed by then, or never will

# The codes with which the sandbox declares that it did not, and will not, do what was asked. Every other refusal is in doubt.
DECLINES = frozenset(
    {
        *("card_declined", "unknown_token", "insufficient_funds", "address_refused", "cancelled_by_key", "test_value_refused"),
        *("handed_over", "refund_declined"),  # of compensations
    }
)


@dataclass(frozen=True)
class _Sandbox:
    """Its URL, the seconds that one call may take in all, the capabilities and the path prefix of one of its providers.

    ``page``: how many entries of a listing one call fetches.
    """

    url: str
    deadline_s: float
    capabilities: Capabilities
    prefix: str = ""
    page: int = 200

    def _post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        return http.request("POST", self._at(path), json=body, key=key, deadline_s=self.deadline_s, declines=DECLINES)

    def _look_up(self, path: str, key: str) -> list[dict[str, Any]]:
        """All that is under ``key``."""
        return _data(self._get(path, {"key": key}))

    def _pages(self, path: str, since: datetime | None) -> Iterator[dict[str, Any]]:
        """Every entry, oldest first. Each call fetches one page."""
        query = {"limit": str(self.page)} | ({"since": since.isoformat()} if since else {})
        after: str | None = None
        while True:
            answer = self._get(path, query | ({"after": after} if after else {}))
            entries = _data(answer)
            yield from entries
            if not _field(answer, "has_more", bool):
                return
            if not entries or entries[-1].get("id") == after:
                raise _incomplete("data")  # more of the same would never end
            after = _field(entries[-1], "id", str)

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        return http.request("GET", f"{self._at(path)}?{urlencode(query)}", deadline_s=self.deadline_s)

    def _at(self, path: str) -> str:
        return self.url + self.prefix + path


class SandboxPayments(_Sandbox):
    """A PaymentGateway."""

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        body = {"order": order_number, "amount": amount_minor, "currency": currency, "token": token}
        return _charge(self._post("/v1/charges", body, key))

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        answer = self._post("/v1/refunds", {"charge": charge_id, "amount": amount_minor}, key)
        return Refund(
            id=_field(answer, "id", str),
            charge_id=_field(answer, "charge", str),
            amount_minor=_field(answer, "amount", int),
            currency=_text(answer, "currency"),
        )

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        answer = self._post("/v1/charges/cancel_by_key", {"key": do_key, "order": order_number}, key)
        return _field(answer, "refunded", int)

    def find(self, key: str) -> Charge | None:
        return _first_open([_charge(found) for found in self._look_up("/v1/charges", key)])

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        return map(_charge, self._pages("/v1/charges", since))


class SandboxCarrier(_Sandbox):
    """A CarrierGateway."""

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        body = {"order": order_number, "address": dict(address), "parcels": [dict(parcel) for parcel in parcels]}
        return _label(self._post("/v1/labels", body, key))

    def cancel(self, label_id: str, *, key: str) -> None:
        self._post(f"/v1/labels/{quote(label_id, safe='')}/cancel", {}, key)

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> str | None:
        answer = self._post("/v1/labels/cancel_by_key", {"key": do_key, "order": order_number}, key)
        return None if answer.get("label") is None else _field(answer, "label", str)

    def find(self, key: str) -> Label | None:
        return _first_open([_label(found) for found in self._look_up("/v1/labels", key)])

    def listing(self, since: datetime | None = None) -> Iterator[Label]:
        return map(_label, self._pages("/v1/labels", since))


# --- reading answers ----------------------------------------------------------------------------------------------------


def _charge(answer: dict[str, Any]) -> Charge:
    refunded = _field(answer, "refunded", int) if "refunded" in answer else 0
    return Charge(
        id=_field(answer, "id", str),
        amount_minor=_field(answer, "amount", int),
        currency=_field(answer, "currency", str),
        refunded_minor=refunded,
        key=_text(answer, "key"),
        order_number=_text(answer, "order"),
    )


def _label(answer: dict[str, Any]) -> Label:
    return Label(
        id=_field(answer, "id", str),
        tracking=_field(answer, "tracking", str),
        cancelled=answer.get("cancelled") is True,
        key=_text(answer, "key"),
        order_number=_text(answer, "order"),
    )


def _first_open(found: list[Found]) -> Found | None:
    """The first that is open, else the first. Under one key there are several only where the provider knows no keys, or has forgotten one."""
    return next((thing for thing in found if thing.is_open), found[0] if found else None)


def _data(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of the answer. Only an empty list means that nothing is there. Raises InDoubt: there is no list."""
    entries = _field(answer, "data", list)
    if not all(isinstance(entry, dict) for entry in entries):
        raise _incomplete("data")
    return entries


def _text(answer: dict[str, Any], name: str) -> str:
    """A text that the answer may lack: no receipt depends on it."""
    return _field(answer, name, str) if name in answer else ""


def _field(answer: dict[str, Any], name: str, kind: type[T]) -> T:
    """A value that the answer must have. Raises InDoubt: a success without it says nothing."""
    value = answer.get(name)
    if type(value) is not kind:
        raise _incomplete(name)
    return value


def _incomplete(name: str) -> InDoubt:
    return InDoubt(f"The provider's answer has no usable {name}.", code="undecodable_answer")
