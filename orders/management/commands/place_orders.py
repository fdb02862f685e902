"""``manage.py place_orders``: orders for the running shop, through its REST API."""

import json
import random
import sys
import uuid
from argparse import ArgumentParser
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand
from rich.progress import track

from fulfillment.management.numbers import at_least_one
from orders.management.demo_data import CUSTOMERS, PRODUCTS
from orders.management.placing_client import ShopClient, order_body


class Command(BaseCommand):
    help = "Place orders with the running stack through its REST API. Example: manage.py place_orders 100 --seed 7"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", type=at_least_one, help="how many")
        parser.add_argument("--seed", type=int, default=7, help="the same seed places the same orders (default 7)")
        parser.add_argument("--json", action="store_true", help="print the numbers as one JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.STACK_FILE.exists():
            sys.exit("No stack is running in this checkout: start it with `make up`.")
        stack = json.loads(settings.STACK_FILE.read_text())
        numbers = []
        shop, rng = ShopClient(stack["api"], stack["token"]), random.Random(options["seed"])
        for _ in track(range(options["count"]), description="placing", disable=options["json"]):
            items = [(rng.choice(PRODUCTS[:22]).sku, rng.randint(1, 3))]
            try:
                numbers.append(shop.place(order_body(rng, rng.choice(CUSTOMERS), items, token="tok_ok"), key=str(uuid.uuid4()))["number"])
            except httpx.HTTPError as refused:
                sys.exit(f"Placed {len(numbers)}, then the shop refused: {refused}")
        self.stdout.write(json.dumps(numbers) if options["json"] else f"Placed {len(numbers)} orders, {numbers[0]} to {numbers[-1]}.")
