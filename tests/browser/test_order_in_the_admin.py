"""Promise: an operator follows an order from the list to its tasks, and can stop it."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import photograph
from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for


def open_order(admin: Page, shop: Shop, number: str) -> None:
    admin.goto(f"{shop.stack.info['web']}/admin/orders/order/?q={number}")
    admin.get_by_role("link", name=number, exact=True).first.click()


def test_an_order_is_followed_to_fulfilled(admin: Page, shop: Shop) -> None:
    """I place an order, and see it paid, reserved, shipped and published, with a link to every task."""
    number = shop.place()
    open_order(admin, shop, number)
    shop.ends(number)
    wait_for(lambda: [effect["state"] for effect in shop.order(number)["deliveries"]] == ["delivered"] * 4)

    admin.reload()

    page = admin.locator(".op")
    expect(page.locator(".head")).to_contain_text("Fulfilled")
    expect(page.locator(".why")).to_contain_text("Every step succeeded: the order is paid, reserved and shipped.")
    expect(page.get_by_role("table").filter(has_text="Subscriber").get_by_text("Delivered")).to_have_count(4)
    photograph(admin, "order-fulfilled")
    admin.goto(f"{shop.stack.info['web']}/admin/orders/order/")
    expect(admin.get_by_role("row").filter(has_text=number)).to_contain_text("4/4")
    photograph(admin, "orders")


def test_its_tasks_are_in_flower(admin: Page, shop: Shop) -> None:
    """I look from an order to its tasks, one by one and all at once."""
    number = shop.place()
    shop.ends(number)
    open_order(admin, shop, number)
    everything = admin.get_by_role("link", name="All its tasks in Flower").get_attribute("href")

    admin.get_by_role("link", name="payment e1 in Flower").click()

    expect(admin.locator("body")).to_contain_text(f"{number}.payment.e1")
    expect(admin.locator("body")).to_contain_text("SUCCESS")
    photograph(admin, "flower-task")
    admin.goto(str(everything))
    for name in ("fulfillment.payment", "fulfillment.shipping", "sideeffects.email", "sideeffects.loyalty"):
        expect(admin.locator("#tasks-table")).to_contain_text(name)
    photograph(admin, "flower-search")


def test_an_order_is_cancelled_by_a_button_that_asks_first(admin: Page, shop: Shop) -> None:
    """I press cancel, am asked, and see what is compensated."""
    with shop.stopped("saga"):
        number = shop.place()
        open_order(admin, shop, number)

        admin.get_by_text("Cancel order").click()
        expect(admin.get_by_text("Cancel this order?")).to_be_visible()
        photograph(admin, "cancel-dialog")
        admin.get_by_role("button", name="Cancel the order").click()

        expect(admin.get_by_text("The cancel is recorded")).to_be_visible()
    assert shop.ends(number) == "cancelled"
    admin.reload()
    expect(admin.locator(".why")).to_contain_text("The order ended because it was cancelled. Undone in this order: payment.")
    photograph(admin, "order-cancelled")


def test_the_api_of_the_same_order_is_plain_json(admin: Page, shop: Shop) -> None:
    """A client developer opens an address in a browser and reads what is missing."""
    number = shop.place()

    answer = admin.goto(f"{shop.stack.info['api']}/orders/{number}")

    assert answer is not None
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
