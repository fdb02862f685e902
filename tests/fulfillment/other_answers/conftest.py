"""A bank that answers with something else than was asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fulfillment import recovery
from fulfillment.gateways import payments
from fulfillment.gateways.ports import Charge, Refund
from fulfillment.ledger import LedgerEntry
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found


@dataclass
class Bank:
    """Answers a charge with ``takes`` in ``currency``, and each refund with the next of ``gives_back`` (None: what was asked)."""

    capabilities: Any
    takes: int = 100
    currency: str = "EUR"
    gives_back: list[int | None] = field(default_factory=list)
    refund_currency: str = "EUR"
    left_minor: int | None = None
    cancels: int | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    given_minor: int = 0

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        return self._charge

    @property
    def _charge(self) -> Charge:
        left = self.takes - self.given_minor if self.left_minor is None else self.left_minor
        return Charge(id="ch_1", amount_minor=self.takes, currency=self.currency, refunded_minor=self.takes - left)

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        self.asked.append((key, amount_minor))
        given = self.gives_back[len(self.asked) - 1] if len(self.asked) <= len(self.gives_back) else None
        given = amount_minor if given is None else given
        self.given_minor += given
        return Refund(id="re_1", charge_id=charge_id, amount_minor=given, currency=self.refund_currency)

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        """Gives back ``cancels`` (None: all that is left), and leaves a tombstone."""
        self.asked.append((key, self.takes))
        given = self.takes - self.given_minor if self.cancels is None else self.cancels
        self.given_minor += given
        return given

    def find(self, key: str) -> Charge | None:
        return self._charge


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bank]:
    def opens(**answers: Any) -> Bank:
        it = Bank(payments().capabilities, **answers)
        monkeypatch.setattr("fulfillment.steps.payment.payments", lambda: it)
        return it

    return opens


def goes_on(saga: int) -> None:
    now_due(saga)
    recovery.inspect_saga(saga)


def entries(saga: int) -> list[tuple[str, int]]:
    return [(entry.operation, entry.amount_minor) for entry in LedgerEntry.objects.filter(order_id=found(saga).order_id)]
