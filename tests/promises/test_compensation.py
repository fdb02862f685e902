"""Promise: what fails is compensated in reverse order, to the cent; nobody is charged for nothing."""

import re

import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for


@pytest.mark.parametrize(
    ("changes", "status", "compensated"),
    [
        ({"token": "tok_declined"}, "payment_failed", []),
        ({"sku": "OUT-OF-STOCK"}, "inventory_failed", ["payment"]),
        ({"postal_code": "00422"}, "shipping_failed", ["inventory", "payment"]),
        ({"postal_code": "00422", "token": "tok_refund_flaky_2"}, "shipping_failed", ["inventory", "payment"]),
    ],
    ids=["payment", "inventory", "shipping", "refund-flaky"],
)
def test_a_failed_step_is_compensated_in_reverse_order(shop: Shop, changes: dict[str, str], status: str, compensated: list[str]) -> None:
    """When my order cannot be fulfilled I get back exactly what I paid, once."""
    number = shop.place(**changes)

    assert shop.ends(number) == status

    entries = shop.order(number)["timeline"]
    steps = [entry for entry in entries if entry["kind"] == "step"]
    assert [entry["name"] for entry in steps if entry["to"] == "compensated"] == compensated
    total = shop.total(number)
    assert shop.ledger(number) == ([("charge", total), ("refund", total)] if compensated else [])
    held = shop.sql("SELECT state FROM fulfillment_reservation WHERE order_number = %s", number)
    assert {state for (state,) in held} <= {"released"}


def test_a_charge_that_timed_out_but_landed_is_charged_once(shop: Shop) -> None:
    """The bank answered too late; I am still charged only once."""
    number = shop.place(token="tok_timeout_charged")

    assert shop.ends(number) == "fulfilled"

    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
    assert "in_doubt" in [entry["to"] for entry in shop.order(number)["timeline"]]


def test_a_charge_that_timed_out_but_landed_is_refunded_once_when_cancelled(shop: Shop) -> None:
    """The bank answered too late, and I cancelled meanwhile: what was charged comes back, once."""
    number = shop.place(token="tok_timeout_charged")
    shop.until_paying(number)

    answer = shop.cancel(number)

    assert answer.status_code == 202, answer.text
    assert shop.ends(number) == "cancelled"
    total = shop.total(number)
    assert shop.ledger(number) == [("charge", total), ("refund", total)]


def test_a_timeout_without_a_charge_is_charged_once(shop: Shop) -> None:
    """The bank never got it: it is asked again, and I pay once."""
    number = shop.place(token="tok_timeout_not_charged")

    assert shop.ends(number) == "fulfilled"

    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_a_label_that_timed_out_but_was_booked_is_booked_once(shop: Shop) -> None:
    """The carrier answered too late; one parcel leaves, not two."""
    number = shop.place(postal_code="00408")

    assert shop.ends(number) == "fulfilled"

    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_the_errback_is_a_task_of_its_own_in_a_queue(shop: Shop) -> None:
    """What turns an order back does not run inside the process that has just failed: a worker receives it, and sees it through."""
    number = shop.place(token="tok_declined")

    assert shop.ends(number) == "payment_failed"

    task = rf"Task fulfillment\.failed\[{number}\.failed\.e1\]"
    log = shop.stack.run_dir / "log" / "saga.log"
    wait_for(lambda: re.search(rf"{task} succeeded", log.read_text(errors="replace")))
    assert len(re.findall(rf"{task} received", log.read_text(errors="replace"))) == 1
