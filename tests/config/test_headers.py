"""Promise: in production everything is HTTPS, and a browser is told what our pages may do. The demo stays usable over plain HTTP."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

PRODUCTION = {"SECURE_SSL_REDIRECT": True, "SESSION_COOKIE_SECURE": True, "CSRF_COOKIE_SECURE": True, "HTTPS": True}
STRICT = {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "script-src 'self'", "style-src 'self'"}


@pytest.fixture
def browser(db: None) -> Browser:
    return Browser(HTTP_HOST="localhost")


@pytest.fixture
def in_production(settings: Any) -> None:
    for name, value in PRODUCTION.items():
        setattr(settings, name, value)
    settings.SECURE_HSTS_SECONDS = 31_536_000


def policy(answer: Any) -> set[str]:
    return set(answer.headers["Content-Security-Policy"].split("; "))


def test_a_page_is_redirected_to_https(in_production: None, browser: Browser) -> None:
    answer = browser.get("/admin/login/?next=/admin/")

    assert (answer.status_code, answer.headers["Location"]) == (301, "https://localhost/admin/login/?next=/admin/")


def test_the_api_over_plain_http_is_refused_and_not_redirected(in_production: None, browser: Browser) -> None:
    """My client fails on its first request, instead of sending my token in the clear each time."""
    for answer in (browser.get("/api/v1/orders"), browser.post("/api/v1/orders", "{}", content_type="application/json")):
        assert answer.status_code == 403
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "https_required"
    assert browser.get("/api/v1/orders", secure=True).status_code == 401


def test_probes_are_answered_over_plain_http(in_production: None, browser: Browser) -> None:
    """An orchestrator asks by IP address, inside of the network."""
    assert browser.get("/healthz").status_code == 200


def test_https_is_kept_to_and_cookies_travel_by_nothing_else(in_production: None, browser: Browser) -> None:
    answer = browser.get("/admin/login/", secure=True)

    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert answer.cookies["csrftoken"]["secure"]
    assert answer.cookies["csrftoken"]["httponly"]


def test_behind_a_proxy_its_header_says_whether_it_was_https(in_production: None, browser: Browser, settings: Any) -> None:
    """Off by default: without such a proxy anybody may send the header."""
    assert browser.get("/admin/login/", headers={"X-Forwarded-Proto": "https"}).status_code == 301

    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    assert browser.get("/admin/login/", headers={"X-Forwarded-Proto": "https"}).status_code == 200
    assert browser.get("/admin/login/", headers={"X-Forwarded-Proto": "http"}).status_code == 301


def test_the_demo_answers_over_plain_http(browser: Browser) -> None:
    answer = browser.get("/admin/login/")

    assert answer.status_code == 200
    assert not answer.cookies["csrftoken"]["secure"]
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("path", ["/docs", "/problems/", "/problems/not-found"])
def test_outside_of_the_admin_the_policy_is_strict(browser: Browser, path: str) -> None:
    answer = browser.get(path)

    assert policy(answer) >= STRICT
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_the_admin_has_what_unfold_needs_and_no_more(browser: Browser) -> None:
    browser.force_login(User.objects.create_superuser("operator"))

    needed = policy(browser.get("/admin/")) - policy(browser.get("/problems/"))

    assert needed == {"script-src 'self' 'unsafe-eval'", "style-src 'self' 'unsafe-inline'"}


@pytest.mark.parametrize("path", ["/admin/login/", "/api/v1/orders", "/nowhere"])
def test_every_answer_says_what_a_browser_may_not_do(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers

    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "is_page"),
    [("/admin/login/", True), ("/docs", True), ("/api/v1/orders", False), ("/openapi.json", False), ("/nowhere", False)],
)
def test_only_pages_say_what_a_page_may_do(browser: Browser, path: str, is_page: bool) -> None:
    """A program that reads JSON has no use for half a kilobyte of it in each answer."""
    headers = browser.get(path).headers

    assert ("Content-Security-Policy" in headers, "camera=()" in headers.get("Permissions-Policy", "")) == (is_page, is_page)
