"""Promise: the reference of the API can be read, on a desk and on a telephone, and leads to each of its parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.conftest import photograph, refused_by_policy

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
WIDTHS = {"desk": 1440, "telephone": 400}
PAGES = ("problems/", "problems/validation-error", "docs/nothing")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("orm_beside_playwright")]


@pytest.fixture(params=WIDTHS)
def page(chrome: Browser, live_server: LiveServer, request: Any) -> Iterator[Page]:
    """The reference. Whatever the policy refuses on it, or breaks in its scripts, fails the test."""
    page = chrome.new_page(viewport={"width": WIDTHS[request.param], "height": 900})
    wrong = refused_by_policy(page)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{live_server.url}/docs")
    expect(page.locator("#contents")).to_be_visible()
    yield page
    page.close()
    assert wrong == []


def can_be_read(page: Page) -> bool:
    """Its words stand out, and none of it lies beside the screen."""
    assert page.evaluate(CONTRAST) == {}
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_every_word_can_be_read(page: Page, live_server: LiveServer) -> None:
    """The guide, operations with their examples, a live answer, and the pages of the problems."""
    placing = page.locator("#operations-orders-place_order")
    for block in (placing, page.locator("#operations-products-get_product")):
        block.locator(".opblock-summary-control").click()
    expect(placing.locator(".responses-table .highlight-code").first).to_be_visible()
    photograph(page, f"reference-{page.evaluate('innerWidth')}")
    assert can_be_read(page)

    placing.get_by_role("button", name="Try it out").click()
    assert placing.get_by_placeholder("Idempotency-Key").input_value() == ""
    placing.get_by_placeholder("Idempotency-Key").fill("key-1")
    placing.get_by_role("button", name="Execute").click()
    expect(placing.locator(".live-responses-table")).to_contain_text("unauthenticated")
    assert can_be_read(page)

    for path in PAGES:
        page.goto(f"{live_server.url}/{path}")
        assert can_be_read(page)


def test_its_contents_lead_to_each_part(page: Page) -> None:
    """I find the operation without scrolling through the guide."""
    if page.locator("#contents").get_attribute("open") is None:
        page.get_by_text("Contents").click()
    targets = page.eval_on_selector_all("#contents a[href^='#']", "links => links.map(link => link.hash)")
    assert len(targets) > 20
    assert [target for target in targets if page.locator(target).count() != 1] == []

    page.locator("#operations").get_by_role("link", name="Cancel an order").click()

    expect(page.locator("#operations-orders-cancel_order .responses-table")).to_be_visible()
    expect(page.locator("#operations-orders-cancel_order")).to_be_in_viewport()
    page.locator(".description").get_by_role("link", name="test values").first.click()
    expect(page.locator("#test-values")).to_be_in_viewport()
