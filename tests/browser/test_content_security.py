"""Promise: every page of the admin works under the content security policy that the shop sends, and a second factor is given in a browser."""

import re
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from fulfillment import engine
from fulfillment.models import StockLevel
from orders.models import Order, OrderLine, Product
from tests.browser.conftest import photograph, refused_by_policy

PASSWORD = "right horse battery"
PAGES = (
    "",
    "orders/order/",
    "orders/product/",
    "fulfillment/stocklevel/",
    "fulfillment/stockmovement/",
    "orders/clientsettings/",
    "auth/user/",
    "password_change/",
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("orm_beside_playwright")]


@pytest.fixture
def operator(transactional_db: None, cheap_hashing: None) -> User:
    return User.objects.create_superuser("amara", password=PASSWORD)


@pytest.fixture
def order(operator: User) -> Order:
    """Placed, with whatever its page shows."""
    Product.objects.create(sku="TENT", name="Tent", price_minor=18_900, currency="EUR")
    StockLevel.objects.create(sku="TENT", on_hand=10)
    address = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
    order = Order.objects.create(
        number="ORD-1001", client=operator, idempotency_key="k", request_digest="d", currency="EUR", total_minor=18_900,
        customer_email="amara@example.com", customer_name="Amara Okafor", shipping_address=address, payment_token="tok_ok",
    )  # fmt: skip
    OrderLine.objects.create(order=order, sku="TENT", name="Tent", quantity=1, unit_price_minor=18_900)
    engine.open_saga(order)
    return order


@pytest.fixture
def page(chrome: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Whatever the policy refuses on it, or breaks in its scripts, fails the test."""
    page = chrome.new_page(viewport={"width": 1440, "height": 1000})
    wrong = refused_by_policy(page)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{live_server.url}/admin/")
    yield page
    page.close()
    assert wrong == []


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.fill("input[name=username]", "amara")
    page.fill("input[name=password]", password)
    page.get_by_role("button", name="Log in").click()


def test_every_page_works_under_the_policy(order: Order, page: Page, live_server: LiveServer) -> None:
    """Menus open, dialogs ask, colours are there, and the console is silent."""
    log_in(page)
    expect(page.get_by_role("link", name="Orders").first).to_be_visible()

    for name in PAGES:
        answer = page.goto(f"{live_server.url}/admin/{name}")
        assert answer is not None
        assert (answer.status, page.url) == (200, f"{live_server.url}/admin/{name}")
    page.goto(f"{live_server.url}/admin/orders/order/?q=ORD-1001")
    page.get_by_role("link", name="ORD-1001", exact=True).first.click()
    expect(page.locator(".op")).to_contain_text("Amara Okafor")
    page.get_by_text("Cancel order").click()
    expect(page.get_by_text("Cancel this order?")).to_be_visible()
    photograph(page, "policy-order")
    page.goto(f"{live_server.url}/admin/orders/product/?q=TENT")
    page.get_by_role("link", name="TENT", exact=True).first.click()
    page.fill("input[name=price]", "15.95")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#confirm-price")).to_be_visible()
    photograph(page, "policy-product")


def test_the_policy_refuses_what_a_stranger_puts_into_a_page(operator: User, chrome: Browser, live_server: LiveServer) -> None:
    """A script in a name stays text, and one that got through would not run."""
    page = chrome.new_page()
    refused = refused_by_policy(page)
    page.goto(f"{live_server.url}/admin/login/")

    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.evaluate("(s => { s.textContent = 'window.ran = 1'; document.body.append(s) })(document.createElement('script'))")
    page.wait_for_timeout(300)

    assert page.evaluate("window.ran") is None
    assert len(refused) == 2
    page.close()


def test_a_second_factor_is_enrolled_and_given(operator: User, page: Page, settings: object, live_server: LiveServer) -> None:
    """I add the secret to my app, write the codes down, and next time I type what the app shows."""
    settings.OPERATORS_SECOND_FACTOR = True  # type: ignore[attr-defined]
    page.goto(f"{live_server.url}/admin/orders/product/")
    log_in(page)
    expect(page.locator("#secret")).to_have_text(re.compile(r"[A-Z2-7]{4}( [A-Z2-7]{4}){7}"))
    photograph(page, "second-factor-enrolment")

    page.fill("input[name=code]", _code(0))
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    photograph(page, "second-factor-recovery-codes")
    page.get_by_role("link", name="I have written them down").click()
    page.wait_for_url(re.compile("/admin/orders/product/$"))

    page.context.clear_cookies()
    page.goto(f"{live_server.url}/admin/")
    log_in(page)
    expect(page.locator("body")).to_contain_text("six digits")
    photograph(page, "second-factor")
    page.fill("input[name=code]", _code(1))
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(re.compile("/admin/$"))


def test_whoever_has_failed_too_often_reads_when_to_come_again(operator: User, page: Page) -> None:
    for _ in range(5):
        log_in(page, "wrong")

    expect(page.locator("h1")).to_have_text("Too many logins have failed")
    photograph(page, "login-throttled")


def _code(steps_ahead: int) -> str:
    app = TOTPDevice.objects.get()
    shown = TOTP(app.bin_key)
    shown.time = time.time() + 30 * steps_ahead
    return f"{shown.token():06d}"
