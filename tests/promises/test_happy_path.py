"""Promise: an order that nothing disturbs is paid once, reserved, shipped once, and published to every subscriber."""

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

SUBSCRIBERS = ["analytics", "email", "loyalty", "recommendations"]


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
