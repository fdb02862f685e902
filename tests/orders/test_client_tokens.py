"""Promise: an API client is known by a token that can be limited, rotated and revoked, and that nobody can read from our database."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from orders import client_tokens
from orders.client_tokens import ClientToken, Issued, Scope
from orders.operators import Refused
from tests.holding import held
from tests.orders.conftest import Client
from tests.sides import at_once

DAY_H = 24


@pytest.fixture
def added(catalogue: None) -> Issued:
    return client_tokens.add("books-to-go")


def asked(authorization: str, path: str = "/api/v1/orders", method: str = "get") -> Any:
    return getattr(APIClient(headers={"Authorization": authorization}), method)(path)


def opens(secret: str) -> bool:
    return bool(asked(f"Bearer {secret}").status_code == 200)


def later(hours: float) -> None:
    """The shop's clock, for this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('shop.now', (shop_now() + %s * interval '1 hour')::text, true)", [hours])


@pytest.mark.parametrize("written", ["Bearer {}", "Token {}", "bearer {}", "TOKEN   {}"])
def test_a_token_is_sent_as_bearer_or_as_token(added: Issued, written: str) -> None:
    assert asked(written.format(added.secret)).status_code == 200


@pytest.mark.parametrize(
    "written",
    ["", "Basic {}", "Bearer", "{}", "Bearer {} {}", "Bearer {}x", "Bearer é", "Bearer \xff\xfe", "Bearer {prefix}_" + "A" * 43, "Bearer {SECRET}"],
)  # fmt: skip
def test_whatever_else_is_sent_is_answered_401_and_says_how_to_write_it(added: Issued, written: str) -> None:
    """Also bytes that are no text: my mistake is no error of the shop."""
    answer = asked(written.format(added.secret, added.secret, prefix=added.token.prefix, SECRET=added.secret.upper()))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    is_token = answer.json()["reason"] == "unknown"
    assert answer.json()["reason"] in ("missing", "malformed", "unknown")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"' + (', error="invalid_token"' if is_token else "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"revoked_at": "2020-01-01T00:00Z"}, "revoked"), ({"expires_at": "2020-01-01T00:00Z"}, "expired"), ({}, "inactive")],
)
def test_a_token_that_has_ended_says_in_a_word_why(added: Issued, change: dict[str, str], reason: str) -> None:
    """My program asks for a new token, or stops."""
    if change:
        ClientToken.objects.update(**change)
    else:
        User.objects.update(is_active=False)

    answer = asked(f"Bearer {added.secret}")

    assert (answer.status_code, answer.json()["reason"]) == (401, reason)
    assert answer["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'


def test_only_the_digest_of_a_token_is_stored_and_its_prefix_is_its_beginning(added: Issued) -> None:
    """Whoever steals a backup of the database orders nothing."""
    stored = ClientToken.objects.values().get()

    assert added.secret.startswith(f"{stored['prefix']}_")
    assert added.secret.removeprefix(stored["prefix"]) not in str(stored)


# --- scopes ------------------------------------------------------------------------------------------------------------------

NEEDS: list[tuple[Scope, Callable[[Client, str, dict[str, Any]], Any]]] = [
    (Scope.ORDERS_READ, lambda client, number, body: client.get("/orders")),
    (Scope.ORDERS_READ, lambda client, number, body: client.get(f"/orders/{number}")),
    (Scope.ORDERS_READ, lambda client, number, body: client.api.head("/api/v1/orders")),
    (Scope.ORDERS_WRITE, lambda client, number, body: client.post(body)),
    (Scope.ORDERS_CANCEL, lambda client, number, body: client.api.post(f"/api/v1/orders/{number}/cancel")),
    (Scope.PRODUCTS_READ, lambda client, number, body: client.get("/products")),
    (Scope.PRODUCTS_READ, lambda client, number, body: client.get("/products/TENT/recommendations")),
]


@pytest.mark.parametrize(("scope", "ask"), NEEDS)
def test_a_token_may_do_what_its_scopes_say_and_nothing_else(scope: Scope, ask: Any, client: Client, body: dict[str, Any]) -> None:
    """The token of my dashboard reads. Stolen, it places nothing."""
    number = client.post(body).json()["number"]

    def answer(*scopes: Scope) -> Any:
        secret = client_tokens.issue(client.user, scopes).secret
        client.api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return ask(client, number, body)

    refused = answer(*(other for other in Scope if other != scope))
    assert refused.status_code == 403
    if refused.content:
        document = refused.json()
        assert (document["code"], document["scope"]) == ("insufficient_scope", scope.value)
        assert scope.value in document["detail"]
    assert refused["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope.value}"'
    assert answer(scope).status_code < 300


def test_a_method_that_a_route_does_not_have_is_405_whatever_the_token_may(added: Issued) -> None:
    assert asked(f"Bearer {added.secret}", method="delete").status_code == 405
    assert asked(f"Bearer {added.secret}", method="options").status_code == 200


# --- rotation, expiry, revocation ----------------------------------------------------------------------------------------------


def test_during_the_overlap_of_a_rotation_both_tokens_work_and_then_the_new_one(added: Issued) -> None:
    """I change it on all my machines one after the other, and miss no order."""
    new = client_tokens.rotate("books-to-go", overlap_h=DAY_H)

    assert (opens(added.secret), opens(new.secret)) == (True, True)
    later(DAY_H - 0.1)
    assert (opens(added.secret), opens(new.secret)) == (True, True)
    later(0.2)
    assert (opens(added.secret), opens(new.secret)) == (False, True)


def test_a_rotation_without_overlap_ends_the_old_token_at_once_and_says_so_to_who_has_it(added: Issued) -> None:
    client_tokens.rotate("books-to-go", overlap_h=0)

    answer = asked(f"Bearer {added.secret}")

    assert answer.status_code == 401
    assert answer.json()["detail"].startswith(f"The token {added.token.prefix} opens nothing any more: expired 20")


def test_a_rotation_prolongs_no_token(catalogue: None) -> None:
    """One that ends tomorrow does not live a week because of it."""
    old = client_tokens.add("short", lifetime_days=1)

    client_tokens.rotate("short", overlap_h=7 * DAY_H)

    assert ClientToken.objects.get(pk=old.token.pk).expires_at == old.token.expires_at


def test_a_rotation_keeps_scopes_and_lifetime_unless_others_are_asked_for(catalogue: None) -> None:
    client_tokens.add("dashboard", [Scope.ORDERS_READ], lifetime_days=90)

    same = client_tokens.rotate("dashboard").token
    other = client_tokens.rotate("dashboard", scopes=[Scope.PRODUCTS_READ, Scope.ORDERS_READ], lifetime_days=client_tokens.NEVER).token

    assert (same.scopes, same.lifetime_days, (same.expires_at - same.made_at).days) == (["orders:read"], 90, 90)
    assert (other.scopes, other.expires_at) == (["orders:read", "products:read"], None)


def test_a_token_ends_when_it_was_meant_to(catalogue: None) -> None:
    secret = client_tokens.add("short", lifetime_days=30).secret

    later(30 * DAY_H - 0.1)
    assert opens(secret)
    later(0.2)
    assert not opens(secret)


def test_what_is_revoked_opens_nothing_from_now_on(added: Issued) -> None:
    """One token by its prefix, or all of a client by its name."""
    second, third = client_tokens.rotate("books-to-go"), client_tokens.rotate("books-to-go")

    assert client_tokens.revoke(second.token.prefix) == [second.token.prefix]
    assert [opens(one.secret) for one in (added, second, third)] == [True, False, True]
    client_tokens.revoke("books-to-go")
    assert [opens(one.secret) for one in (added, second, third)] == [False, False, False]
    with pytest.raises(Refused, match="Nothing was done"):
        client_tokens.revoke("books-to-go")


def test_a_client_that_was_revoked_comes_back_with_a_rotation(added: Issued) -> None:
    client_tokens.revoke("books-to-go")

    assert opens(client_tokens.rotate("books-to-go").secret)


def test_a_client_that_is_not_active_is_out(added: Issued) -> None:
    client = added.token.client
    client.is_active = False
    client.save()

    assert not opens(added.secret)


def test_a_client_that_has_become_an_operator_is_no_client_any_more(added: Issued) -> None:
    """Nobody could rotate or limit its token."""
    client = added.token.client
    client.is_staff = True
    client.save()

    answer = asked(f"Bearer {added.secret}")

    assert (answer.status_code, "its client is an operator" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize(
    ("name", "why"), [("books-to-go", "called books-to-go already"), ("", "blank"), ("a b", "valid username"), ("x" * 81, "80 characters")]
)
def test_a_name_that_a_client_cannot_have_is_refused(added: Issued, name: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        client_tokens.add(name)

    assert ClientToken.objects.count() == 1


def test_an_operator_is_no_client_and_nobody_unknown_gets_a_token(added: Issued, sign_in: Any) -> None:
    amara = sign_in()

    with pytest.raises(Refused, match="is an operator, and no API client"):
        client_tokens.issue(amara)
    with pytest.raises(Refused, match="no API client amara"):
        client_tokens.rotate("amara")
    with pytest.raises(Refused, match="no API client nobody"):
        client_tokens.rotate("nobody")


def test_a_client_that_is_called_like_a_token_of_another_loses_none_of_its_own(added: Issued) -> None:
    """An operator has renamed it since."""
    other = client_tokens.add("web-shop")
    User.objects.filter(username="web-shop").update(username=added.token.prefix)

    assert client_tokens.revoke(added.token.prefix) == [added.token.prefix]

    assert (opens(added.secret), opens(other.secret)) == (False, True)
    assert client_tokens.revoke_all(added.token.prefix) == [other.token.prefix]


def test_a_client_is_not_called_like_a_token(added: Issued) -> None:
    with pytest.raises(Refused, match="written like the prefix of a token"):
        client_tokens.add("api_0123abcd")

    assert opens(client_tokens.add("shop_20261128").secret)


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_being_made_while_all_of_its_client_are_revoked_is_revoked_too(added: Issued) -> None:
    """Its client was broken into. What an operator revokes is revoked, whoever rotates at the same instant."""
    made, revoked = at_once(
        lambda: client_tokens.rotate("books-to-go"), "FOR UPDATE", lambda: client_tokens.revoke("books-to-go"), must_wait=True
    )

    assert set(revoked) == {added.token.prefix, made.token.prefix}
    assert not opens(made.secret)


@pytest.mark.django_db(transaction=True)
def test_a_name_that_two_add_at_once_is_one_client_s(catalogue: None) -> None:
    first, second = at_once(
        lambda: client_tokens.add("books-to-go"), "INSERT INTO", lambda: client_tokens.add("books-to-go"), must_wait=True
    )

    assert opens(first.secret)
    assert isinstance(second, Refused) and "called books-to-go already" in str(second)


# --- what it costs ---------------------------------------------------------------------------------------------------------------


def test_the_last_use_is_noted_and_written_once_in_five_minutes(added: Issued, django_assert_num_queries: Any) -> None:
    """I see which token nobody uses any more. A request usually costs one statement for it: the one that reads the token."""
    assert ClientToken.objects.get().last_used_at is None
    opens(added.secret)
    first = ClientToken.objects.get().last_used_at
    assert first is not None

    with django_assert_num_queries(1):
        client_tokens.recognize(added.secret)
    assert ClientToken.objects.get().last_used_at == first
    later(0.1)
    opens(added.secret)
    second = ClientToken.objects.get().last_used_at
    assert second is not None and second > first


def test_what_is_no_token_costs_no_statement(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        asked("Bearer nonsense")


@pytest.mark.django_db(transaction=True)
def test_a_token_whose_row_somebody_holds_is_served_at_once(added: Issued) -> None:
    """To note that it was used is not worth a wait."""
    with held("SELECT 1 FROM orders_clienttoken FOR UPDATE"):
        began = time.monotonic()
        assert opens(added.secret)

    assert time.monotonic() - began < 1


@pytest.mark.django_db(transaction=True)
def test_a_token_is_read_where_nothing_can_be_written(added: Issued, caplog: pytest.LogCaptureFixture) -> None:
    """After a failover to a replica reading goes on."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        assert client_tokens.recognize(added.secret).client.username == "books-to-go"
    finally:
        connection.close()

    assert f"the use of {added.token.prefix} was not noted (25006)" in caplog.text
