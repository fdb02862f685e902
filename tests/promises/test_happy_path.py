"""Promise: an order that nothing disturbs is paid once, reserved, shipped once, and published to every subscriber; its whole way is found by one id."""

import re
import uuid

from tests.promises.conftest import Shop
from tests.proofs.black_box.orders import body
from tests.proofs.black_box.waiting import wait_for

SUBSCRIBERS = ["analytics", "email", "loyalty", "recommendations"]
STEPS = ["payment", "inventory", "shipping"]
TASKS = {*(f"fulfillment.{step}" for step in STEPS), *(f"sideeffects.{name}" for name in SUBSCRIBERS)}


def test_an_order_is_paid_reserved_shipped_and_published(shop: Shop) -> None:
    """I order a tent, pay once, and get it."""
    number = shop.place()

    assert shop.ends(number) == "fulfilled"

    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
    assert [(step["name"], step["state"]) for step in shop.order(number)["steps"]] == [
        ("payment", "succeeded"),
        ("inventory", "succeeded"),
        ("shipping", "succeeded"),
    ]
    wait_for(lambda: [e["state"] for e in shop.order(number)["deliveries"]] == ["delivered"] * 4)
    assert sorted(effect["subscriber"] for effect in shop.order(number)["deliveries"]) == SUBSCRIBERS


def test_the_receipt_is_mailed_with_a_stable_message_id(shop: Shop) -> None:
    """I get one receipt by mail, with what I bought."""
    number = shop.place()
    shop.ends(number)

    folder = shop.stack.run_dir / "mail"
    mails = wait_for(lambda: [text for file in folder.glob("*.eml") if number in (text := file.read_text())])

    assert len(mails) == 1
    assert "Message-ID:" in mails[0]


def test_the_request_id_that_a_client_was_told_finds_the_whole_way_of_its_order(shop: Shop) -> None:
    """I give the shop's people one id: they find my request, what was done for it, what the providers were asked, and who was told of it."""
    before, mine = shop.log_ends(), f"mine-{uuid.uuid4().hex}"
    answer = shop.http.post("/orders", json=body(), headers={"Idempotency-Key": mine, "X-Request-ID": mine})
    number = answer.json()["number"]
    shop.ends(number)

    wait_for(lambda: _tasks(shop.logged(mine, before), "succeeded") == TASKS)
    lines = shop.logged(mine, before)

    assert answer.headers["X-Request-ID"] == mine
    assert [line for line in lines if "answered method=POST route=/api/v1/orders status=201 client=web-shop ms=" in line]
    assert _tasks(lines, "received") == TASKS
    assert len([line for line in lines if "provider called method=POST" in line]) >= 2, "the charge and the label"
    assert [line for line in shop.logged(number, before) if not line.endswith(f" request_id={mine}")] == []


def _tasks(lines: list[str], what: str) -> set[str]:
    return {task for line in lines for task in re.findall(rf"Task ([\w.]+)\[\S+\] {what}", line)}
