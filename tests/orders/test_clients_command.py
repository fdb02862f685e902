"""Promise: whoever runs the shop adds, lists, rotates and revokes API clients on the command line, by hand or by script."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from orders.models import ClientSettings, ClientToken


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("clients", *words, stdout=out)
    return out.getvalue()


def document(*words: str) -> dict[str, Any]:
    return dict(json.loads(said(*words, "--json")))


def status(secret: str, path: str = "/api/v1/products") -> int:
    return int(APIClient(headers={"Authorization": f"Bearer {secret}"}).get(path).status_code)


def test_a_client_is_added_and_its_token_is_shown_once_with_what_it_may(db: None) -> None:
    lines = said("add", "books-to-go", "--scopes", "orders:read,products:read", "--expires-in-days", "90").splitlines()

    token = ClientToken.objects.get()
    assert (status(lines[0]), ClientSettings.objects.get().client.username) == (200, "books-to-go")
    assert "Authorization: Bearer" in lines[1]
    assert (
        lines[2] == f"{token.prefix} of books-to-go works until {token.expires_at:%Y-%m-%d %H:%M:%S} UTC, for orders:read, products:read."
    )
    assert lines[0] not in said("list")


def test_a_second_client_sees_nothing_of_the_first(db: None) -> None:
    """Each has a name, a token and orders of its own."""
    first, second = document("add", "books-to-go"), document("add", "web-shop")

    assert (status(first["token"]), status(second["token"])) == (200, 200)
    assert {row["client"] for row in document("list")["clients"]} == {"books-to-go", "web-shop"}


def test_the_list_says_of_each_token_what_it_may_when_it_was_used_and_whether_it_works(db: None) -> None:
    old = document("add", "books-to-go", "--scopes", "products:read")
    status(old["token"])
    document("rotate", "books-to-go", "--overlap-hours", "0", "--scopes", "orders:read", "--expires-in-days", "7")

    ((new, first), lines) = document("list")["clients"][0]["tokens"], said("list").splitlines()

    assert (new["scopes"], new["opens"], new["last_used_at"]) == (["orders:read"], True, None)
    assert (first["prefix"], first["opens"], bool(first["last_used_at"])) == (old["prefix"], False, True)
    assert f"books-to-go · {new['prefix']} · orders:read · never used · until 2" in lines[0]
    assert f"books-to-go · {old['prefix']} · products:read · last used 2" in lines[1]
    assert "expired 2" in lines[1]
    assert lines[2] == "1 client."


def test_a_rotation_says_how_long_the_older_tokens_work(db: None) -> None:
    old = document("add", "books-to-go")

    lines = said("rotate", "books-to-go").splitlines()

    assert lines[-1] == "The older tokens of books-to-go work for 24 hours more at most."
    assert (status(old["token"]), status(lines[0])) == (200, 200)
    assert [line.endswith(", beside the newest") for line in said("list").splitlines()[:2]] == [False, True], "the overlap is seen"
    one = said("rotate", "books-to-go", "--overlap-hours", "1").splitlines()[-1]
    none = said("rotate", "books-to-go", "--overlap-hours", "0").splitlines()[-1]
    assert one == "The older tokens of books-to-go work for 1 hour more at most."
    assert none == "The older tokens of books-to-go open nothing any more."


def test_a_client_may_choose_that_each_of_its_references_stands_for_one_order(db: None) -> None:
    document("add", "books-to-go", "--unique-references")
    document("add", "web-shop")

    chosen = dict(ClientSettings.objects.values_list("client__username", "unique_references"))
    assert chosen == {"books-to-go": True, "web-shop": False}


def test_what_was_done_before_is_said_to_be(db: None) -> None:
    """I am told about my client, and not about users."""
    token = document("add", "books-to-go")
    document("revoke", token["prefix"])

    with pytest.raises(SystemExit, match="There is a client or an operator called books-to-go already"):
        said("add", "books-to-go")
    for which in (token["prefix"], "books-to-go"):
        with pytest.raises(SystemExit, match=f"{which} was revoked before, and opens nothing. Nothing was done."):
            said("revoke", which)


def test_revoked_by_prefix_or_by_name_it_opens_nothing(db: None) -> None:
    first, second = document("add", "books-to-go"), document("rotate", "books-to-go")

    assert said("revoke", first["prefix"]) == f"{first['prefix']} is revoked: it opens nothing any more.\n"
    assert (status(first["token"]), status(second["token"])) == (401, 200)
    assert document("revoke", "books-to-go")["revoked"] == [second["prefix"]]
    assert status(second["token"]) == 401


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["add"], "add and rotate need the name of a client"),
        (["list", "books-to-go"], "list neither"),
        (["add", "x", "--overlap-hours", "1"], "add does not know --overlap-hours"),
        (["revoke", "x", "--scopes", "orders:read"], "revoke does not know --scopes"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(db: None, capsys: Any, words: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("clients", *words)

    assert (end.value.code, sentence in capsys.readouterr().err) == (2, True)
    assert not ClientToken.objects.exists()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--scopes", "orders:write,everything", "everything: there is no such scope, only orders:read"),
        ("--scopes", ",", "name one scope at least"),
        ("--expires-in-days", "-1", "'-1' is neither 0 nor a whole number above it"),
        ("--expires-in-days", "soon", "'soon' is neither 0"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_option(db: None, option: str, value: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=f"{option}: {sentence}"):
        call_command("clients", "add", "x", option, value)


def test_a_lifetime_beyond_every_calendar_is_refused(db: None) -> None:
    with pytest.raises(SystemExit, match="A token lives 36500 days at most"):
        said("add", "books-to-go", "--expires-in-days", "36501")

    assert (ClientToken.objects.count(), ClientSettings.objects.count()) == (0, 0)


@pytest.mark.parametrize("words", [["rotate", "nobody"], ["revoke", "nobody"], ["revoke", "api_12345678"]])
def test_what_is_not_there_is_refused_by_name(db: None, words: list[str]) -> None:
    with pytest.raises(SystemExit, match=f"{words[1]}.*Nothing was done"):
        said(*words)


def test_the_help_has_an_example_of_each_change(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        call_command("clients", "--help")

    text = " ".join(capsys.readouterr().out.split())
    assert [f"Example: manage.py clients {verb}" in text for verb in ("add", "rotate", "revoke")] == [True] * 3
