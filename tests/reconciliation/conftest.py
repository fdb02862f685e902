"""Orders that have ended in different ways, and the command that reconciles them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from fulfillment import recovery
from fulfillment.models import Saga, SagaState
from orders.models import Order
from tests.actors import AMARA, BELA
from tests.fulfillment.forked_sandbox import ForkedSandbox
from tests.reconciliation.shop import TOTAL, Shop


@pytest.fixture
def shop(db: None, tmp_path: Path, settings: Any) -> Iterator[Shop]:
    provider = ForkedSandbox(tmp_path / "ledger.sqlite3")
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S, settings.TIME_SCALE = provider.url, 1.0, 0.01
    try:  # the shop's rows may be refused, when another test has left some
        yield Shop(provider)
    finally:
        provider.end()


@pytest.fixture
def fulfilled(shop: Shop) -> Order:
    order = shop.place()
    assert order.status == "fulfilled"
    return order


@pytest.fixture
def failed(shop: Shop) -> Order:
    """Shipping was refused, everything is compensated."""
    order = shop.place(postal_code="00422")
    assert order.status == "shipping_failed"
    return order


@pytest.fixture
def declined(shop: Shop) -> Order:
    """No charge that we know of."""
    return shop.place(token="tok_declined")


@pytest.fixture
def closed(shop: Shop) -> Order:
    """The refund was declined; an operator has closed the order and written the money off."""
    order = shop.place(postal_code="00422", token="tok_refund_declined")
    saga = Saga.objects.get(order=order)
    assert saga.state == SagaState.NEEDS_ATTENTION
    for actor in (AMARA, BELA):
        recovery.decide(
            recovery.Request(
                order=order.number,
                verb="close",
                version=recovery.version_of(order.pk),
                actor=actor,
                reason="too small to follow",
                amount_minor=TOTAL,
            )
        )
    order.refresh_from_db()
    assert order.status == "shipping_failed"
    return order


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``manage.py reconcile``: its exit status and its output."""

    def run(*words: str) -> tuple[int, str]:
        try:
            call_command("reconcile", *words)
        except SystemExit as ended:
            output = capsys.readouterr().out
            return (1, f"{output}{ended.code}") if isinstance(ended.code, str) else (int(ended.code or 0), output)
        return 0, capsys.readouterr().out

    return run


def as_json(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    return found
