"""Promise: whoever guesses passwords is slowed down, per account and address, and what is kept for it says no more than it must."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.utils import timezone

from config.management.commands.sweep import Sweep
from orders.login import throttle
from tests.orders.login.conftest import RIGHT, WRONG, log_in


def fail(times: int, name: str = "amara", address: str = "192.0.2.1") -> list[int]:
    return [log_in(WRONG, name, address=address).status_code for _ in range(times)]


def failed_before(*accounts_and_addresses: tuple[str, str]) -> None:
    """Once each."""
    rows = [AccessAttempt(username=account, ip_address=address, failures_since_start=1) for account, address in accounts_and_addresses]
    AccessAttempt.objects.bulk_create(rows)


def later(seconds: float) -> None:
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=seconds))


def test_after_five_failures_an_account_waits_at_this_address_and_nowhere_else(amara: User) -> None:
    """Who guesses at my password is stopped, and I come in from my own desk."""
    assert fail(5) == [200] * 4 + [429]

    refused = log_in(RIGHT)

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "900"
    assert "Wait 15 minutes" in refused.content.decode()
    assert log_in(RIGHT, address="192.0.2.2").status_code == 302


def test_a_program_gets_a_problem_document(amara: User) -> None:
    fail(5)

    refused = log_in(RIGHT, headers={"Accept": "application/json"})

    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json()["status"], refused.json()["code"]) == (429, "too_many_logins")
    assert refused.json()["request_id"] == refused.headers["X-Request-ID"]


def test_an_address_that_tries_many_accounts_waits(amara: User) -> None:
    """One password tried on everybody is guessing too."""
    failed_before(*((f"somebody{number}", "192.0.2.1") for number in range(23)))

    assert fail(1, "somebody23") + fail(1, "somebody24") == [200, 429]

    assert log_in(RIGHT).status_code == 429
    assert log_in(RIGHT, address="192.0.2.2").status_code == 302


def test_an_account_that_is_tried_from_everywhere_waits(amara: User) -> None:
    failed_before(*(("amara", f"198.51.100.{number}") for number in range(48)))

    assert fail(1, address="198.51.100.48") + fail(1, address="198.51.100.49") == [200, 429]

    assert log_in(RIGHT, address="192.0.2.2").status_code == 429


def test_the_wait_ends_and_trying_meanwhile_does_not_make_it_longer(amara: User) -> None:
    """A stranger who goes on trying cannot keep me out."""
    fail(5)
    later(600)
    assert fail(1) == [429]

    later_than_the_last_counted = AccessAttempt.objects.get().attempt_time
    assert timezone.now() - later_than_the_last_counted > timedelta(seconds=599)
    later(901)

    assert log_in(RIGHT).status_code == 302


def test_a_success_forgets_the_failures_of_its_account_here_and_of_nobody_else(amara: User) -> None:
    """Whoever has one password of their own cannot guess at others for ever by logging in between."""
    fail(4)
    fail(3, "benedikt")

    assert log_in(RIGHT).status_code == 302

    assert [row.failures_since_start for row in AccessAttempt.objects.all()] == [3]


def test_what_is_kept_of_a_failure_is_what_is_counted(amara: User, caplog: Any) -> None:
    """My password stands nowhere, also where I typed it into the wrong field; nor does my browser."""
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            log_in(WRONG, also={"passwort": "typed-into-another-field"}, headers={"User-Agent": "Firefox on my phone"})
        log_in("x", name="my-password-as-a-name")
        log_in(RIGHT)

    kept = str(list(AccessAttempt.objects.values()))
    for secret in (WRONG, RIGHT, "typed-into-another-field", "my-password-as-a-name", "Firefox"):
        assert secret not in kept + caplog.text
    assert not AccessAttempt.objects.exclude(get_data="", post_data="", user_agent="", http_accept="").exists()
    assert "192.0.2.1" not in caplog.text
    assert not AccessLog.objects.exists()
    assert not AccessFailureLog.objects.exists()


def test_a_refused_login_is_in_the_log_with_its_account(amara: User, caplog: Any) -> None:
    fail(5)

    assert "Locking out account='amara'" in caplog.text


def test_failures_that_no_longer_count_are_removed_by_the_sweep(amara: User) -> None:
    """Also where nobody logs in any more."""
    fail(2)
    sweep = Sweep(print)
    sweep._forget_logins()
    assert AccessAttempt.objects.count() == 1
    later(901)
    sweep._forget_logins()
    assert AccessAttempt.objects.count() == 1

    sweep.logins_forgotten_at -= 301
    sweep._forget_logins()

    assert not AccessAttempt.objects.exists()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9, 203.0.113.1", "203.0.113.1"),
        (2, "203.0.113.9, 203.0.113.1, 10.0.0.1", "203.0.113.1"),
        (1, "nonsense", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "[2001:db8:1:2::3]:4711", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2::3]", "2001:db8:1:2::"),
        (1, "2001:db8:1:2::3", "2001:db8:1:2::"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "[::ffff:203.0.113.9]:80", "203.0.113.9"),
        (1, "fe80::3%eth0", "fe80::"),
        (1, "203.0.113.9:http", "192.0.2.1"),
        (1, "203.0.113.9:1:2", "192.0.2.1"),
        (1, "[203.0.113.9]:80", "192.0.2.1"),
        (1, "[2001:db8::1", "192.0.2.1"),
    ],
)
def test_an_address_is_what_our_own_proxies_have_seen(settings: Any, proxies: int, forwarded: str, seen: str) -> None:
    """Nobody makes up a new address for each try."""
    settings.NUM_PROXIES = proxies
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR="192.0.2.1")

    assert throttle.address(request) == seen


def test_whoever_has_a_whole_network_is_one_address(amara: User) -> None:
    """A home has 18 quintillion IPv6 addresses: nobody takes another one for each try."""
    for number in range(1, 5):
        fail(1, address=f"2001:db8:1:2::{number}")

    assert fail(1, address="2001:db8:1:2:ffff::1") == [429]
    assert log_in(RIGHT, address="2001:db8:1:3::1").status_code == 302


@pytest.mark.parametrize("following", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "\x00"])
def test_a_login_that_would_lead_elsewhere_leads_to_the_admin(amara: User, following: str) -> None:
    entered = log_in(RIGHT, also={"next": following})

    assert (entered.status_code, entered.headers["Location"]) == (302, "/admin/")
