"""Providers that answer at once, in this process, and remember nothing. The bench asks only for what goes well, and again for what a killed worker has begun.
What it never asks for is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

from fulfillment.capabilities import Capabilities
from fulfillment.gateways.ports import Charge, Label
from tests.bench.peers.programs.work import provider

CAPABILITIES = Capabilities(key_window_s=86_400, keeps_rejections=True, tombstone=True, lookup_lag_s=15.0)


def _never(*_: object, **__: object) -> NoReturn:
    raise AssertionError("an order of the bench was not fulfilled at the first try")


def _shows_nothing_yet(key: str) -> None:
    """The look-up after a second try under the same key: the answer stands."""


class Payments:
    capabilities = CAPABILITIES
    refund = cancel_by_key = _never
    find = staticmethod(_shows_nothing_yet)

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        return Charge(id=provider("pay", _number(order_number)), amount_minor=amount_minor, currency=currency, key=key)

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        return iter(())


class Carrier:
    capabilities = CAPABILITIES
    cancel = cancel_by_key = _never
    find = staticmethod(_shows_nothing_yet)

    def book(self, order_number: str, address: Mapping[str, str], parcels: Sequence[Mapping[str, object]], *, key: str) -> Label:
        reference = provider("ship", _number(order_number))
        return Label(id=reference, tracking=reference, key=key)

    def listing(self, since: datetime | None = None) -> Iterator[Label]:
        return iter(())


def _number(order_number: str) -> int:
    return int(order_number.removeprefix("ORD-"))
