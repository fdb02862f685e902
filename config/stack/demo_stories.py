"""The forty orders of the demo: the story of each, what happens to it on the way, and how it must end."""

import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from orders.management.demo_data import CUSTOMERS, PRODUCTS
from orders.management.placing_client import FINAL, ShopClient, order_body

SLOW = "tok_slow_8s"
PAYS_WITHIN_S = 20
PLAIN_SKUS = [product.sku for product in PRODUCTS if product.sku not in ("OUT-OF-STOCK", "LAST-ONE")]


@dataclass(frozen=True)
class Story:
    """``count`` orders that differ from a plain one by ``token``, ``sku``, ``postal_code`` or ``email``, and end with ``status``.

    ``meddle`` happens while the payment is being answered. ``effects`` is what the provider's ledger must show of each, in order. ``attention``: it ends with
    a person being notified.
    """

    title: str
    count: int
    status: str
    effects: tuple[str, ...]
    token: str = "tok_ok"
    sku: str = ""
    postal_code: str = ""
    email: str = ""
    meddle: str = ""
    marks: tuple[str, ...] = ()
    attention: bool = False


STORIES = (
    Story("fulfilled", 22, "fulfilled", ("charge", "label")),
    Story("card declined", 3, "payment_failed", (), token="tok_declined"),
    Story("out of stock: refunded", 3, "inventory_failed", ("charge", "refund"), sku="OUT-OF-STOCK"),
    Story("address refused: released, refunded", 3, "shipping_failed", ("charge", "refund"), postal_code="00422"),
    Story("provider flaky: tried three times", 2, "fulfilled", ("charge", "label"), token="tok_flaky_2", marks=("in_doubt",)),
    Story(
        "timed out after the charge landed: charged once",
        1,
        "fulfilled",
        ("charge", "label"),
        token="tok_timeout_charged",
        marks=("in_doubt",),
    ),
    Story(
        "the bank never answers: given up, nothing charged",
        1,
        "payment_failed",
        (),
        token="tok_never_answers",
        marks=("in_doubt", "compensated"),
    ),
    Story(
        "refund declined: a person is notified, nobody shown refunded",
        1,
        "compensating",
        ("charge",),
        token="tok_refund_declined",
        postal_code="00422",
        marks=("incident",),
        attention=True,
    ),
    Story("e-mail refused for good: dead letter", 1, "fulfilled", ("charge", "label"), email="bounce@example.com", marks=("dead",)),
    Story("cancelled in flight: refunded", 2, "cancelled", ("charge", "refund"), token=SLOW, meddle="cancel", marks=("requested",)),
    Story("worker killed mid-charge: taken over", 1, "fulfilled", ("charge", "label"), token=SLOW, meddle="kill", marks=("take_over",)),
)


@dataclass
class Placed:
    """An order on its way, and what the shop said of it last."""

    story: Story
    number: str
    seen: dict[str, Any] = field(default_factory=dict)


def place_all(shop: ShopClient, seed: int, kill_worker: Callable[[], None]) -> Iterator[Placed]:
    """Place the orders one by one, the quiet ones first; those that are meddled with are meddled with while their payment is being answered."""
    rng = random.Random(seed)
    quiet = [story for story in STORIES if not story.meddle for _ in range(story.count)]
    rng.shuffle(quiet)
    meddled = [story for story in STORIES if story.meddle for _ in range(story.count)]
    for story in quiet + meddled:
        placed = Placed(story, shop.place(_body(rng, story), key=str(uuid.uuid4()))["number"])
        if story.meddle:
            _while_paying(shop, placed.number)
            kill_worker() if story.meddle == "kill" else shop.cancel(placed.number)
        yield placed


def _body(rng: random.Random, story: Story) -> dict[str, Any]:
    customer = rng.choice(CUSTOMERS)
    skus = rng.sample(PLAIN_SKUS, rng.randint(1, 3)) + ([story.sku] if story.sku else [])
    body = order_body(rng, customer, [(sku, rng.randint(1, 2)) for sku in skus], token=story.token)
    if story.email:
        body["customer"]["email"] = story.email
    if story.postal_code:
        body["shipping_address"]["postal_code"] = story.postal_code
    return body


def _while_paying(shop: ShopClient, number: str) -> None:
    deadline = time.monotonic() + PAYS_WITHIN_S
    while time.monotonic() < deadline:
        payment = next(step for step in shop.order(number)["steps"] if step["name"] == "payment")
        if payment["state"] == "started":
            return
        time.sleep(0.02)
    raise TimeoutError(f"{number}: the payment did not start within {PAYS_WITHIN_S} s")


def kill_session(pid: int) -> None:
    """SIGKILL a worker whole: each is the leader of its own process group."""
    os.killpg(pid, signal.SIGKILL)


def at_rest(order: dict[str, Any]) -> bool:
    """Nothing of this order moves any more, its side effects included; or a person must decide."""
    if order.get("attention"):
        return True
    if order.get("status") not in FINAL:
        return False
    effects = order["deliveries"] or []  # none yet, or they cannot be read now
    has_effects = order["status"] != "fulfilled" or bool(effects)
    return has_effects and all(effect["state"] in ("delivered", "dead") for effect in effects)


def wrong(placed: Placed, effects: list[dict[str, Any]]) -> str:
    """What does not fit the story; empty if all does."""
    order, story = placed.seen, placed.story
    if order["status"] != story.status:
        return f"{placed.number} is {order['status']}, expected {story.status}"
    if order["attention"] != story.attention:
        return f"{placed.number}: attention is {order['attention']}, expected {story.attention}"
    operations = tuple(entry["operation"] for entry in effects)
    if operations != story.effects:
        return f"{placed.number}: the ledger shows {operations}, expected {story.effects}"
    shown = {entry["kind"] for entry in order["timeline"]} | {entry["to"] for entry in order["timeline"]}
    missing = set(story.marks) - shown
    return f"{placed.number}: its timeline does not show {sorted(missing)}" if missing else ""
