"""Promise: where the shop wants a second factor, a password alone opens nothing, and a lost phone locks nobody out for good."""

import io
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from orders import second_factor
from orders.models import OperatorToken, RefusedAttempt
from tests.orders.login.conftest import LOGIN, RIGHT, log_in


@pytest.fixture(autouse=True)
def wanted(settings: Any) -> None:
    settings.OPERATORS_SECOND_FACTOR = True


@pytest.fixture
def codes(amara: User) -> list[str]:
    """Of an amara who is enrolled; her recovery codes."""
    enrolled = second_factor.enrol(amara, code_of(second_factor.app_to_enrol(amara)))
    assert enrolled is not None
    return enrolled[1]


def code_of(app: TOTPDevice, steps_ahead: int = 0) -> str:
    """As the app shows it. A code opens once: the next one is that of the next step, which is taken a little early."""
    shown = TOTP(app.bin_key)
    shown.time = time.time() + 30 * steps_ahead
    return f"{shown.token():06d}"


def next_code() -> str:
    return code_of(TOTPDevice.objects.get(), steps_ahead=1)


def after_the_password() -> Browser:
    browser = Browser()
    assert log_in(RIGHT, browser=browser).status_code == 302
    return browser


def give(browser: Browser, code: str, **more: str) -> Any:
    return browser.post(LOGIN, {"code": code} | more)


def comes_in(browser: Browser) -> bool:
    return browser.get("/admin/").status_code == 200


def test_a_password_alone_opens_no_page(codes: list[str]) -> None:
    browser = after_the_password()

    for page in ("/admin/", "/admin/orders/order/", "/admin/auth/user/", "/admin/password_change/", "/admin/search/?s=order"):
        answer = browser.get(page)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/admin/login/"), page
    assert "six digits" in browser.get(LOGIN).content.decode()


def test_a_code_of_the_app_opens_the_admin_where_the_operator_wanted_to_go(codes: list[str]) -> None:
    browser = after_the_password()
    before = browser.session.session_key

    entered = give(browser, next_code(), next="/admin/orders/order/")

    assert (entered.status_code, entered.headers["Location"]) == (302, "/admin/orders/order/")
    assert comes_in(browser)
    assert browser.session.session_key != before


def test_a_code_leads_to_no_other_site(codes: list[str]) -> None:
    entered = give(after_the_password(), next_code(), next="https://evil.example/admin/")

    assert entered.headers["Location"] == "/admin/"


def test_who_has_given_the_password_alone_may_leave_again(codes: list[str]) -> None:
    """At somebody else's desk, and my phone is at home."""
    browser = after_the_password()

    assert browser.post("/admin/logout/").status_code == 200

    assert "_auth_user_id" not in browser.session
    assert browser.post("/admin/logout/").headers["Location"] == "/admin/"


def test_a_code_opens_once(codes: list[str]) -> None:
    """Who looked over my shoulder is too late."""
    code = next_code()
    give(after_the_password(), code)

    browser = after_the_password()

    assert "opens nothing" in give(browser, code).content.decode()
    assert not comes_in(browser)


@pytest.mark.parametrize("code", ["000000", "abcdefgh", "", "٠١٢٣٤٥", "1" * 33, "123456\x00", "-1", "1e5"])
def test_what_is_no_code_opens_nothing(codes: list[str], code: str) -> None:
    browser = after_the_password()

    assert give(browser, code).status_code == 200
    assert not comes_in(browser)


def test_after_a_wrong_code_the_next_one_has_to_wait(codes: list[str]) -> None:
    """A million codes are not tried in an evening."""
    browser = after_the_password()
    give(browser, "000000")

    assert give(browser, next_code()).status_code == 200
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(seconds=2))

    assert give(browser, next_code()).status_code == 302


def test_somebody_else_s_code_opens_nothing(codes: list[str]) -> None:
    other = User.objects.create_superuser("benedikt", password=RIGHT)
    second_factor.enrol(other, code_of(second_factor.app_to_enrol(other)))
    browser = Browser()
    log_in(RIGHT, "benedikt", browser)

    assert give(browser, code_of(TOTPDevice.objects.get(user__username="amara"), 1)).status_code == 200
    assert give(browser, codes[0]).status_code == 200
    assert not comes_in(browser)


def test_each_recovery_code_opens_once(codes: list[str]) -> None:
    """My phone is at the bottom of a lake."""
    browser = after_the_password()

    assert give(browser, f" {codes[0].upper()} ").status_code == 302

    assert comes_in(browser)
    assert give(after_the_password(), codes[0]).status_code == 200
    assert StaticToken.objects.count() == len(codes) - 1


def test_who_has_none_enrols_after_the_password_and_sees_the_recovery_codes_once(amara: User) -> None:
    browser = after_the_password()
    page = browser.get(LOGIN).content.decode()
    secret = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert secret is not None
    assert secret[1] in browser.get(LOGIN).content.decode()  # the same, until a code of it has been seen
    assert "otpauth://totp/Meridian%20Outfitters%3Aamara?secret=" in page
    assert give(browser, "000000").status_code == 200
    assert not comes_in(browser)
    TOTPDevice.objects.update(throttling_failure_timestamp=None)

    shown = give(browser, code_of(TOTPDevice.objects.get())).content.decode()

    codes = re.findall(r"<code>([a-z2-7]{8})</code>", shown)
    assert (len(codes), second_factor.is_enrolled(amara)) == (second_factor.RECOVERY_CODES, True)
    assert comes_in(browser)
    assert give(after_the_password(), codes[0]).status_code == 302


def test_who_is_reset_is_out_at_once_and_enrols_anew(codes: list[str]) -> None:
    browser = after_the_password()
    give(browser, next_code())
    said = io.StringIO()

    call_command("second_factor", "reset", "amara", stdout=said)

    assert "enrols a new one at the next login" in said.getvalue()
    assert not comes_in(browser)
    assert "with this secret" in browser.get(LOGIN).content.decode()
    assert not StaticDevice.objects.exists()


def test_it_is_listed_who_has_one(codes: list[str]) -> None:
    User.objects.create_superuser("benedikt", password=RIGHT)
    said = io.StringIO()

    call_command("second_factor", "list", stdout=said)

    assert said.getvalue().splitlines() == ["amara · has one", "benedikt · has none"]


def test_nothing_is_reset_where_there_is_nothing(amara: User) -> None:
    for name in ("amara", "nobody"):
        with pytest.raises(SystemExit, match=f"{name} has no second factor. Nothing was done."):
            call_command("second_factor", "reset", name)


def test_secrets_stand_on_no_page_of_the_admin(codes: list[str], settings: Any) -> None:
    settings.OPERATORS_SECOND_FACTOR = False
    browser = after_the_password()

    for page in ("otp_totp/totpdevice/", "otp_static/staticdevice/", "axes/accessattempt/"):
        assert browser.get(f"/admin/{page}").status_code == 404


def test_where_the_shop_wants_none_nobody_is_asked(codes: list[str], settings: Any) -> None:
    settings.OPERATORS_SECOND_FACTOR = False

    assert comes_in(after_the_password())


@pytest.mark.parametrize(("gives_code", "made"), [(True, 1), (False, 0)])
def test_a_token_is_made_with_a_code_too(codes: list[str], monkeypatch: Any, gives_code: bool, made: int) -> None:
    """Else a password would open by the command line what it does not open by the admin."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{RIGHT}\n{next_code() if gives_code else ''}\n"))

    try:
        call_command("operator_token", "create", "amara", stdout=io.StringIO())
    except SystemExit as refused:
        assert "This code opens nothing." in str(refused)

    assert OperatorToken.objects.count() == made
    assert RefusedAttempt.objects.count() == 1 - made
