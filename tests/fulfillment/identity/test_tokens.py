"""Promise: who decides is who they say: a user of the shop, whom a token has authenticated."""

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.test import APIClient

from fulfillment.management import operating
from orders import client_tokens, operators
from orders.models import OperatorToken, Order, RefusedAttempt
from orders.timeline import TimelineEntry
from tests.fulfillment.identity.conftest import note, refused


def made(user: str = "amara", password: str = "right horse battery", monkeypatch: Any = None) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    said = io.StringIO()
    call_command("operator_token", "create", user, stdout=said)
    return said.getvalue().splitlines()[0]


def test_a_token_is_made_with_the_user_s_own_password_shown_once_and_stored_as_a_digest(
    amara: User, order: Order, settings: Any, monkeypatch: Any
) -> None:
    """I make it, keep it, and decide by it; whoever reads the database decides nothing by what stands there."""
    token = made(monkeypatch=monkeypatch)
    stored = OperatorToken.objects.get()

    assert token.startswith(f"{stored.prefix}_")
    assert token.removeprefix(stored.prefix) not in str(OperatorToken.objects.values().get())
    settings.OPERATOR_TOKEN = token
    note(order)
    entry = TimelineEntry.objects.get(kind="operator")
    assert (entry.actor, entry.detail["user"]) == ("amara", amara.pk)
    said = io.StringIO()
    call_command("operator_token", "list", stdout=said)
    assert f"{stored.prefix} · amara · made " in said.getvalue()
    assert token not in said.getvalue()


@pytest.mark.parametrize(
    ("user", "password"), [("amara", "wrong"), ("amara", ""), ("nobody", "right horse battery"), ("gone", "p"), ("web-shop", "p")]
)
def test_nobody_makes_a_token_of_somebody_else(order: Order, amara: User, monkeypatch: Any, user: str, password: str) -> None:
    """One shell cannot be two persons. An API client is none, and who has left is none any more."""
    User.objects.create_user("gone", password="p", is_staff=True, is_active=False)
    order.client.set_password("p")
    order.client.save()

    with pytest.raises(SystemExit):
        made(user, password, monkeypatch)

    assert not OperatorToken.objects.exists()
    assert refused() == [("", "operator_token", "" if user == "nobody" else user)]


@pytest.mark.parametrize("ended", ["revoked", "deactivated", "no longer staff", "deleted"])
def test_a_token_ends_with_its_right_at_once(amara: User, order: Order, settings: Any, ended: str) -> None:
    """Who leaves is out, also where their token was copied."""
    settings.OPERATOR_TOKEN = operators.issue(amara)
    note(order)
    if ended == "revoked":
        call_command("operator_token", "revoke", OperatorToken.objects.get().prefix)
    elif ended == "deleted":
        amara.delete()
    else:
        User.objects.update(**{"is_active": False} if ended == "deactivated" else {"is_staff": False})

    with pytest.raises(SystemExit, match="not known here, or not any more"):
        note(order)

    assert TimelineEntry.objects.filter(kind="operator").count() == 1
    assert refused() == [("", "note", operators.prefix_of(settings.OPERATOR_TOKEN))]


@pytest.mark.parametrize("forged", ["nonsense", "op_12345678_", "{prefix}_" + "A" * 43, "{token}A", "{TOKEN}"])
def test_what_only_looks_like_a_token_opens_nothing(amara: User, order: Order, settings: Any, forged: str) -> None:
    token = operators.issue(amara)
    prefix = operators.prefix_of(token)
    settings.OPERATOR_TOKEN = forged.format(prefix=prefix, token=token, TOKEN=token.upper())

    with pytest.raises(SystemExit, match="not known here"):
        note(order)

    assert not TimelineEntry.objects.filter(kind="operator").exists()
    assert "A" * 43 not in str(RefusedAttempt.objects.values().get())


def test_an_api_client_s_token_is_no_operator_s_and_the_other_way_round(amara: User, order: Order, settings: Any) -> None:
    settings.OPERATOR_TOKEN = client_tokens.issue(order.client).secret
    with pytest.raises(SystemExit, match="not known here"):
        note(order)

    api = APIClient(headers={"Authorization": f"Token {operators.issue(amara)}"})
    assert api.get("/api/v1/orders/ORD-1").status_code == 401


# --- where it is taken from --------------------------------------------------------------------------------------------------


def test_without_a_token_and_without_a_terminal_nobody_decides(order: Order, settings: Any, capsys: Any) -> None:
    settings.OPERATOR_TOKEN = ""

    with pytest.raises(SystemExit) as usage:
        note(order)

    assert usage.value.code == 2
    assert "Put your operator token into OPERATOR_TOKEN" in capsys.readouterr().err


def test_on_a_terminal_it_is_asked_for_and_never_shown(order: Order, amara: User, settings: Any, monkeypatch: Any) -> None:
    token = operators.issue(amara)
    asked: list[str] = []

    def unseen(prompt: str) -> str:
        asked.append(prompt)
        return f"{token}\n"

    settings.OPERATOR_TOKEN = ""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(operating, "getpass", unseen)

    note(order)

    assert asked == ["Operator token: "]
    assert TimelineEntry.objects.get(kind="operator").actor == "amara"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("command", ["decide", "retry_orders", "circuit", "replay", "deliveries", "forget"])
def test_no_command_takes_a_name_or_a_token_as_an_argument(command: str, capsys: Any) -> None:
    """Process lists are readable, and a name proves nothing."""
    with pytest.raises(SystemExit):
        call_command(command, "--help")
    output = capsys.readouterr().out
    assert "--actor" not in output
    assert "--token" not in output


# --- the demo's operator --------------------------------------------------------------------------------------------------------


def test_the_demo_s_operator_has_a_token_that_stays_and_is_made_anew_when_it_ends(db: None, tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "credentials.json"

    def seeded() -> str:
        call_command("seed", "--credentials", str(file), stdout=io.StringIO())
        return str(json.loads(file.read_text())["operator_token"])

    first = seeded()
    assert operators.by_token(first).name == "operator"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert seeded() == first
    operators.revoke(operators.prefix_of(first))
    assert operators.by_token(seeded()).name == "operator"
