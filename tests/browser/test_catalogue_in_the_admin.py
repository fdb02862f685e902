"""Promise: an operator sees a new price beside the old one before it is saved, and counts stock that nobody has moved meanwhile."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import photograph
from tests.promises.conftest import Shop

SKU = "MAP-KERRY"


def open_row(admin: Page, shop: Shop, model: str) -> str:
    """The page of the product, or of its stock level."""
    admin.goto(f"{shop.stack.info['web']}/admin/{model}/?q={SKU}")
    admin.get_by_role("link", name=SKU, exact=True).first.click()
    admin.wait_for_url(re.compile("/change/"))
    return admin.url


def save(admin: Page) -> None:
    admin.get_by_role("button", name="Save", exact=True).click()


def test_a_price_is_confirmed_before_it_is_saved(admin: Page, shop: Shop) -> None:
    """I type a price, see old and new, and say yes."""
    shop.run(f"UPDATE orders_product SET price_minor = 1495 WHERE sku = '{SKU}'")
    open_row(admin, shop, "orders/product")
    expect(admin.locator("input[name=price]")).to_have_value("14.95")
    admin.fill("input[name=price]", "1495")
    save(admin)
    expect(admin.locator("body")).to_contain_text("Write an amount in EUR with a point and 2 digits after it")

    admin.fill("input[name=price]", "15.95")
    save(admin)
    expect(admin.locator("#confirm-price")).to_be_visible()
    photograph(admin, "price-confirm")
    admin.get_by_role("button", name="Yes, save €14.95 → €15.95").click()

    expect(admin.locator("body")).to_contain_text("was changed successfully")
    expect(admin.get_by_role("row").filter(has_text=SKU)).to_contain_text("€15.95")


def test_a_count_is_refused_when_somebody_else_has_moved_the_stock(admin: Page, shop: Shop) -> None:
    """Two of us count the same shelf: the second reads both numbers."""
    level = open_row(admin, shop, "fulfillment/stocklevel")
    with admin.expect_popup() as window:
        admin.evaluate("url => { window.open(url) }", level)
    other = window.value
    on_hand = int(shop.sql(f"SELECT on_hand FROM fulfillment_stocklevel WHERE sku = '{SKU}'")[0][0])
    for page, pieces in ((other, on_hand - 1), (admin, on_hand)):
        page.select_option("select[name=reason]", "counted")
        page.fill("input[name=pieces]", str(pieces))

    save(other)
    expect(other.locator("body")).to_contain_text(f"Recorded. {SKU}: counted -1, {on_hand - 1} on hand.")
    photograph(other, "stock-level")
    save(admin)

    expect(admin.locator("body")).to_contain_text(f"{on_hand} on hand then, {on_hand - 1} now")
    expect(admin.locator("input[name=pieces]")).to_have_value("")
    photograph(admin, "stock-count-refused")
    assert shop.sql(f"SELECT on_hand FROM fulfillment_stocklevel WHERE sku = '{SKU}'") == [(on_hand - 1,)]
    other.close()
