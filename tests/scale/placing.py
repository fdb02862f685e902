"""A few real orders, driven to their ends by the engine, with a provider sandbox on the ledger of the folder. Imported once Django knows the database."""

import subprocess
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction

from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.models import Saga
from orders.management.commands.seed import CLIENT, stock_the_shop
from orders.models import Order, OrderLine, Product
from sideeffects import discovery, relay
from sideeffects.models import Delivery, DeliveryState
from tests.fulfillment.conftest import ADDRESS, SandboxProcess
from tests.reconciliation.shop import one_try
from tests.sideeffects.conftest import ALL_LOST

# How many copies in a hundred, and what differs from an order that goes well.
STORIES: tuple[tuple[int, dict[str, str]], ...] = (
    *((12, {}),) * 6,
    *((11, {}),) * 2,
    (3, {"payment_token": "tok_declined"}),
    (3, {"postal_code": "00422"}),
)
TRIES = 80


def real_orders(folder: Path) -> list[tuple[str, int]]:
    """(number, how many copies in a hundred); each has two lines of its own. Whatever is owed to subscribers is delivered."""
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        stock_the_shop()
    relay.register(discovery.types(), release=1)
    provider = SandboxProcess(folder / "sandbox.sqlite3")
    settings.SANDBOX_URL = provider.url
    try:
        placed = [(_driven(n, **changes), share) for n, (share, changes) in enumerate(STORIES)]
    finally:
        with suppress(subprocess.TimeoutExpired):
            provider.end()
    relay.owe(ALL_LOST)
    Delivery.objects.update(state=DeliveryState.DELIVERED, tries=1, wake_at=None, launched_at=None, delivered_at=shop_now())
    return placed


def _driven(n: int, payment_token: str = "tok_ok", postal_code: str = ADDRESS["postal_code"]) -> str:
    products = list(Product.objects.order_by("sku"))
    lines = [products[(2 * n + k) % len(products)] for k in range(2)]
    number, client = f"ORD-T{n}", User.objects.get_or_create(username=CLIENT)[0]
    order = Order.objects.create(
        number=number, client=client, idempotency_key=number, currency=lines[0].currency, total_minor=sum(line.price_minor for line in lines),
        payment_token=payment_token, customer_email="amara@example.com", customer_name="Amara Okafor", correlation_id="scale",
        shipping_address=ADDRESS | {"postal_code": postal_code},
    )  # fmt: skip
    OrderLine.objects.bulk_create(
        OrderLine(order=order, sku=line.sku, name=line.name, quantity=1, unit_price_minor=line.price_minor) for line in lines
    )
    engine.open_saga(order)
    saga = Saga.objects.get(order=order)
    for _ in range(TRIES):
        at = engine.current_action(Saga.objects.get(pk=saga.pk))
        if at is None:
            return number
        one_try(saga.pk, at.name, compensating=at.is_compensation, state=at.state)
    raise RuntimeError(f"{number} does not come to its end")
