"""The REST interface without a network: real database, no broker (what is launched on commit is not this folder's business)."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from rest_framework.test import APIClient

from fulfillment.models import StockLevel
from orders import client_tokens
from orders.client_tokens import Scope
from orders.models import Product


class Client:
    """One API client with a token of its own, which may do everything unless ``scopes`` say otherwise."""

    def __init__(self, name: str, scopes: Sequence[str] = tuple(Scope)) -> None:
        self.user = User.objects.create(username=name)
        self.token = client_tokens.issue(self.user, scopes).secret
        self.authorization = f"Bearer {self.token}"
        self.api = APIClient(headers={"Authorization": self.authorization})

    def another_token(self, scopes: Sequence[str] = tuple(Scope)) -> APIClient:
        """Of the same client."""
        return APIClient(headers={"Authorization": f"Bearer {client_tokens.issue(self.user, scopes).secret}"})

    def post(self, body: Any, key: str | None = None, **headers: str) -> Any:
        key = uuid.uuid4().hex if key is None else key
        return self.api.post("/api/v1/orders", body, format="json", headers={"Idempotency-Key": key, **headers})

    def get(self, path: str) -> Any:
        return self.api.get(f"/api/v1{path}")


@pytest.fixture
def catalogue(db: None) -> None:
    Product.objects.create(sku="TENT", name="Tent", price_minor=18_900, currency="EUR")
    Product.objects.create(sku="MUG", name="Mug", price_minor=1_250, currency="EUR")
    Product.objects.create(sku="GONE", name="No longer sold", price_minor=100, currency="EUR", is_active=False)
    Product.objects.create(sku="UNCOUNTED", name="Of which nobody knows how many there are", price_minor=100, currency="EUR")
    for sku in ("TENT", "MUG", "GONE"):
        StockLevel.objects.create(sku=sku, on_hand=10)


@pytest.fixture
def client(catalogue: None) -> Client:
    return Client("web-shop")


@pytest.fixture
def body() -> dict[str, Any]:
    return {
        "reference": "web-1",
        "currency": "EUR",
        "customer": {"email": "amara@example.com", "name": "Amara Okafor"},
        "lines": [{"sku": "TENT", "quantity": 1}, {"sku": "MUG", "quantity": 2}],
        "payment": {"token": "tok_ok"},
        "shipping_address": {"name": "Amara", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"},
    }


def browser_of(name: str, *permissions: str) -> Browser:
    """Of an operator who may do just this."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def operator(client: Client) -> Browser:
    """Logged in; what fails in a page is answered, as it is to a person."""
    browser = Browser(raise_request_exception=False)
    browser.force_login(User.objects.create_superuser("operator"))
    return browser
