"""The shop that the examples speak of: its products, and the numbers of its orders."""

import pytest
from django.db import connection

from fulfillment.models import StockLevel
from orders.models import Product
from tests.orders.conftest import Client
from tests.orders.reference.situations import FIRST_NUMBER

WRITE = "--write-examples"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known where this folder is named on the command line."""
    parser.addoption(WRITE, action="store_true", help="the examples of the reference tell what the shop answers now")


@pytest.fixture
def rewrites(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption(WRITE, default=False))


@pytest.fixture
def catalogue(db: None) -> None:
    for sku, name, price_minor in (("TENT-2P-GRN", "Two-person tent, green", 18_900), ("MUG-ENAMEL", "Enamel mug", 1_250)):
        Product.objects.create(sku=sku, name=name, price_minor=price_minor, currency="EUR")
        StockLevel.objects.create(sku=sku, on_hand=10)


@pytest.fixture
def client(catalogue: None) -> Client:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER SEQUENCE orders_order_number RESTART WITH {FIRST_NUMBER}")
    return Client("web-shop")
