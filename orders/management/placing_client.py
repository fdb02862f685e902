"""A client of the shop's REST API, as any other: the demo and ``place_orders`` use the public entry point."""

import random
import time
from collections.abc import Callable
from typing import Any

import httpx
from django.conf import settings

from orders.management.demo_data import DemoCustomer

FINAL = {"fulfilled", "payment_failed", "inventory_failed", "shipping_failed", "failed", "cancelled"}  # an order's last statuses
TURNED_AWAY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
AGAIN_AFTER_S = 1.0  # where a proxy has answered, which does not say when
TURNED_AWAY_TIMES = 5  # in a row, each for a minute at most


class ShopClient:
    """``api_url`` without a trailing slash. Every method raises httpx.HTTPStatusError with the problem document in its response."""

    def __init__(self, api_url: str, token: str) -> None:
        self.http = httpx.Client(base_url=api_url, headers={"Authorization": f"Token {token}"}, timeout=30)

    def place(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        return self._json(lambda: self.http.post("/orders", json=body, headers={"Idempotency-Key": f'"{key}"'}))

    def order(self, number: str) -> dict[str, Any]:
        return self._json(lambda: self.http.get(f"/orders/{number}", params={"expand": "steps,deliveries,timeline"}))

    def cancel(self, number: str) -> dict[str, Any]:
        return self._json(lambda: self.http.post(f"/orders/{number}/cancel"))

    def _json(self, ask: Callable[[], httpx.Response]) -> dict[str, Any]:
        """Comes back when the shop says so: above its rate limit, or while too many orders wait, a client is told in how many seconds."""
        answer = ask()
        for _ in range(TURNED_AWAY_TIMES):
            if answer.status_code not in TURNED_AWAY:
                break
            time.sleep(float(answer.headers.get("Retry-After", AGAIN_AFTER_S)))
            answer = ask()
        return dict(answer.raise_for_status().json())


def order_body(rng: random.Random, customer: DemoCustomer, items: list[tuple[str, int]], token: str) -> dict[str, Any]:
    """The body of one order: ``items`` are (SKU, quantity)."""
    return {
        "reference": f"web-{rng.randrange(10_000, 100_000)}",
        "currency": settings.SHOP_CURRENCY,
        "customer": {"email": customer.email, "name": customer.name},
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in items],
        "payment": {"token": token},
        "shipping_address": {
            "name": customer.name,
            "line1": customer.line1,
            "city": customer.city,
            "postal_code": customer.postal_code,
            "country": customer.country,
        }
        | ({"state": customer.state} if customer.state else {}),
    }
