"""Promise: operators add API clients, see their tokens, rotate and revoke them in the admin, each with a permission of its own."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client as Browser
from rest_framework.test import APIClient

from orders import client_tokens
from orders.client_tokens import Issued
from orders.models import ClientSettings, ClientToken, RefusedAttempt
from tests.orders.admin_form import Form, opened
from tests.orders.conftest import browser_of

LIST = "/admin/orders/clientsettings/"


@pytest.fixture
def added(catalogue: None) -> Issued:
    return client_tokens.add("books-to-go")


@pytest.fixture
def browser(db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("operator"))
    return browser


def page(issued: Issued, action: str = "change") -> str:
    return f"{LIST}{issued.token.client_id}/{action}/"


def secret_in(shown: Form) -> str:
    (secret,) = re.findall(r"api_[0-9a-f]{8}_[\w-]{43}", shown.text)
    return str(secret)


def status(secret: str) -> int:
    return int(APIClient(headers={"Authorization": f"Bearer {secret}"}).get("/api/v1/products").status_code)


def test_a_client_is_added_and_its_token_is_shown_once(browser: Browser) -> None:
    """I copy it to the client's developer. Nobody finds it again: not on its page, and not in the log of the admin."""
    form = opened(browser, f"{LIST}add/")

    shown = form.send(name="books-to-go", scopes=["products:read"], lifetime_days="90", unique_references="on")

    chosen, token = ClientSettings.objects.get(), ClientToken.objects.get()
    assert (status(secret_in(shown)), chosen.unique_references, token.scopes, token.lifetime_days) == (200, True, ["products:read"], 90)
    again = browser.get(f"{LIST}{chosen.pk}/change/").content.decode()
    assert (token.prefix in again, secret_in(shown) in again) == (True, False)
    assert secret_in(shown).removeprefix(token.prefix) not in str(list(LogEntry.objects.values()))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "books-to-go"}, "called books-to-go already"),
        ({"name": "a b"}, "valid username"),
        ({"scopes": []}, "This field is required"),
        ({"lifetime_days": "1_0"}, "days in digits alone"),
        ({"lifetime_days": "36501"}, "At most 36,500"),
    ],
)
def test_what_no_client_can_have_is_refused_beside_its_field(browser: Browser, added: Issued, given: dict[str, Any], why: str) -> None:
    form = opened(browser, f"{LIST}add/")

    shown = form.send(**{"name": "other", "scopes": ["orders:read"], "lifetime_days": "0"} | given)

    assert why in shown.text
    assert ClientToken.objects.count() == 1


def test_a_rotation_offers_what_there_is_and_shows_the_new_token_once(browser: Browser, added: Issued) -> None:
    form = opened(browser, page(added, "rotate"))
    assert (form.fields["lifetime_days"], form.fields["overlap_hours"]) == ("0", "24")

    shown = form.send(scopes=["products:read"])

    assert (status(secret_in(shown)), status(added.secret)) == (200, 200)
    assert ClientToken.objects.get(pk=added.token.pk).expires_at is not None
    assert ClientToken.objects.first().scopes == ["products:read"]  # type: ignore[union-attr]
    assert LogEntry.objects.get().change_message.startswith("Rotated: api_")


def test_one_token_or_all_of_a_client_are_revoked(browser: Browser, added: Issued) -> None:
    second, third = client_tokens.rotate("books-to-go"), client_tokens.rotate("books-to-go")

    opened(browser, page(added, "revoke")).send(which=second.token.prefix)
    assert [status(one.secret) for one in (added, second, third)] == [200, 401, 200]
    shown = opened(browser, page(added, "revoke")).send(which="all")

    assert [status(one.secret) for one in (added, second, third)] == [401, 401, 401]
    assert shown.text.count("no: revoked") == 3
    assert LogEntry.objects.earliest("id").change_message == f"Revoked: {second.token.prefix}."


def test_a_token_of_another_client_is_not_revoked_from_this_page(browser: Browser, added: Issued) -> None:
    other = client_tokens.add("web-shop")

    opened(browser, page(added, "revoke")).send(which=other.token.prefix)

    assert status(other.secret) == 200


def test_the_list_says_which_tokens_work_in_few_queries(browser: Browser, added: Issued, django_assert_max_num_queries: Any) -> None:
    for number in range(10):
        client_tokens.add(f"client-{number}")
    status(added.secret)

    with django_assert_max_num_queries(8):
        text = browser.get(LIST).content.decode()

    assert added.token.prefix in text
    assert "never" in text


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_each_verb_has_a_permission_and_who_posts_without_it_is_in_the_audit_log(added: Issued, verb: str) -> None:
    """Whoever may see clients may not make tokens."""
    other = "revoke" if verb == "rotate" else "rotate"
    browser = browser_of("amara", "view_clientsettings", f"{other}_clienttoken")

    text = browser.get(page(added)).content.decode()
    answers = [browser.get(page(added, verb)).status_code, browser.post(page(added, verb), {"which": "all"}).status_code]

    assert (f"/{other}/" in text, f"/{verb}/" in text, answers) == (True, False, [403, 403])
    refused = RefusedAttempt.objects.get()
    assert (refused.actor, refused.verb, refused.subject) == ("amara", f"{verb}_clienttoken", "books-to-go")
    assert ClientToken.objects.get().revoked_at is None


def test_a_client_that_has_orders_is_never_deleted(browser: Browser, added: Issued) -> None:
    assert browser.post(page(added, "delete"), {"post": "yes"}).status_code == 403


def test_who_has_chosen_nothing_else_still_chooses(browser: Browser, added: Issued) -> None:
    opened(browser, page(added)).send(unique_references="on")

    assert ClientSettings.objects.get().unique_references
