"""``manage.py forget EMAIL``: erasure (pseudonymisation) of one customer, wherever the shop's database names them. Each package erases its own rows."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from fulfillment import erasure as of_fulfillment
from fulfillment.management.operating import OperatorCommand, authenticated, words, wrong_usage
from orders import erasure as of_orders
from orders import refusals
from orders.models import Order
from orders.operators import Actor, Refused
from orders.pseudonyms import marks_of
from sideeffects import erasure as of_side_effects

PACKAGES = (of_fulfillment, of_orders, of_side_effects)  # in the order in which they say what is left to do

KEPT = "Kept, because tax and accounting law ask for it: order numbers, dates, products, amounts, currency, country and state, charges and parcels by reference."
BEYOND = "Not reached from here: the records of the payment provider and of the carrier, mails that were sent, and backups (see docs/personal-data.md)."
NAMING_KEYS = (
    "A key that names the customer is replaced, so a request that comes again under it would place a new order. Have its client stop first."
)
SHOWN = 10


class UnderWay(Refused):
    """Orders that still need to know their customer: {number: what is left to do}."""

    def __init__(self, orders: dict[str, str]) -> None:
        super().__init__(", ".join(f"{number} {why}" for number, why in orders.items()))
        self.orders = orders


@dataclass(frozen=True)
class Forgotten:
    """``touched``: how many rows of each kind named the customer."""

    orders: list[str]
    touched: Counter[str]


class Command(OperatorCommand):
    help = (
        "Pseudonymise a customer in orders, facts, history, deliveries, incidents and the admin's log. Without --yes it only counts. "
        'Example: manage.py forget amara@example.com --yes --reason "asked by mail, ticket 512"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("email", help="whom to forget; - reads it from standard input, so that it stands in no process list")
        parser.add_argument("--yes", action="store_true", help="do it; there is no way back")
        parser.add_argument("--reason", type=words, help="why, for whoever reads it later; the address in it is left out")

    def handle(self, *args: Any, **options: Any) -> None:
        email = sys.stdin.readline().strip() if options["email"] == "-" else options["email"].strip()
        if "@" not in email:
            wrong_usage("Whom to forget is an e-mail address.")
        if options["yes"] and not options["reason"]:
            wrong_usage("--yes needs --reason.")
        actor = authenticated("forget") if options["yes"] else None
        try:
            done = forget(email, actor, options["reason"]) if actor else preview(email)
        except UnderWay as busy:
            sys.exit(f"Refused: {_first(list(busy.orders))} still needed. {busy}. Nothing was forgotten; ask again when it is at rest.")
        if options["json"]:
            self.write_json({"orders": done.orders, "touched": dict(done.touched), "written": options["yes"]})
            return
        self.write_lines(*_lines(done, options["yes"]))


def preview(email: str) -> Forgotten:
    """What ``forget`` would do. It writes nothing. Raises UnderWay."""
    return _erase(email, None)


def forget(email: str, actor: Actor, reason: str) -> Forgotten:
    """Erase in one transaction for each order. It may be stopped and started again: an order that was erased is not found any more.

    Raises UnderWay, Refused: nothing was done.
    """
    with refusals.recorded(actor, "forget", ""):
        actor.must_have("orders.forget_customer", "have a customer forgotten")
        return _erase(email, (actor, reason))


def _erase(email: str, by: tuple[Actor, str] | None) -> Forgotten:
    """``by``: who has it done, and why. None: only count."""
    _refuse_if_under_way(of_orders.orders_of(email))
    touched: Counter[str] = Counter()
    numbers = []
    for pk in list(of_orders.orders_of(email).values_list("pk", flat=True)):
        with transaction.atomic():
            order = of_orders.orders_of(email).select_for_update(no_key=True).filter(pk=pk).first()
            if order is None:  # somebody else has erased it meanwhile
                continue
            _refuse_if_under_way([order])
            touched += _erase_order(order, by)
        numbers.append(order.number)
    with transaction.atomic():
        for package in PACKAGES:
            touched += package.erase_address(email, write=by is not None)
    return Forgotten(numbers, touched)


def _refuse_if_under_way(orders: Iterable[Order]) -> None:
    if busy := {order.number: why for order in orders if (why := _left_to_do(order))}:
        raise UnderWay(busy)


def _left_to_do(order: Order) -> str:
    """The first answer counts."""
    return next(filter(None, (package.left_to_do(order) for package in PACKAGES)), "")


def _erase_order(order: Order, by: tuple[Actor, str] | None) -> Counter[str]:
    marks, touched = marks_of(order), Counter(orders=1)
    for package in PACKAGES:
        touched += package.erase_order(order, marks, write=by is not None)
    if by is not None:
        of_orders.pseudonymise(order, marks, *by)
    return touched


def _lines(done: Forgotten, written: bool) -> list[str]:
    if not done.touched:
        return ["Nobody of this address is known here: nothing is left to forget."]
    counts = [f"  {count:>6} {what}" for what, count in sorted(done.touched.items())]
    counts += [NAMING_KEYS] if done.touched[of_orders.KEYS] else []
    of = f" of {_first(done.orders)}" if done.orders else ""
    if not written:
        return [f"Would be pseudonymised{of}:", *counts, KEPT, BEYOND, "Nothing was written. Repeat it with --yes and --reason."]
    return [f"Pseudonymised{of}:", *counts, KEPT, BEYOND]


def _first(numbers: list[str]) -> str:
    left = len(numbers) - SHOWN
    return ", ".join(numbers[:SHOWN]) + (f" and {left} more" if left > 0 else "")
