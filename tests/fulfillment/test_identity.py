"""Promise: who decides is who they say: a user of the shop, whom a door has authenticated, with the permission for just that; and what was refused is kept."""

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, transaction
from knox.models import AuthToken
from rest_framework.test import APIClient

from fulfillment import recovery
from fulfillment.management import operating
from fulfillment.models import DECIDED_BY_PERSONS, Saga, SagaState
from fulfillment.recovery import Refused, Request, circuits
from orders import operators
from orders.models import Incident, OperatorToken, Order, RefusedAttempt
from orders.timeline import TimelineEntry
from tests.actors import AMARA, EVERYTHING, TUNDE, actor
from tests.conftest import SignIn
from tests.fulfillment.driving import undo_failed

PAY = "payments.sandbox.do"


@pytest.fixture(autouse=True)
def opened(request: pytest.FixtureRequest) -> None:
    """Whatever is decided about the order is decided about its saga."""
    if "order" in request.fixturenames:
        request.getfixturevalue("saga")


def asks(order: Order, verb: str = "note", by: operators.Actor = AMARA, **given: Any) -> Request:
    return Request(order=order.number, verb=verb, version=recovery.version_of(order.pk), actor=by, **{"reason": "r"} | given)


def note(order: Order) -> None:
    call_command("decide", order.number, "note", "--version", str(recovery.version_of(order.pk)), "--reason", "looked at")


def refused() -> list[tuple[str, str, str]]:
    return list(RefusedAttempt.objects.order_by("id").values_list("actor", "verb", "subject"))


# --- the token ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def amara(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time on purpose
    return User.objects.create_superuser("amara", password="right horse battery")


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
    settings.OPERATOR_TOKEN = AuthToken.objects.create(user=amara)[1]
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
    told = capsys.readouterr().out
    assert "--actor" not in told
    assert "--token" not in told


# --- permissions ----------------------------------------------------------------------------------------------------------


def test_each_verb_has_a_permission_of_its_own() -> None:
    assert set(DECIDED_BY_PERSONS) == set(recovery.VERBS)


@pytest.mark.parametrize("verb", DECIDED_BY_PERSONS)
def test_a_verb_is_refused_without_its_permission_whatever_else_one_may(order: Order, saga: int, verb: str) -> None:
    undo_failed(saga)
    almost = actor(7, "kim", EVERYTHING - {f"fulfillment.decide_{verb}"})
    before = list(Saga.objects.values()), list(TimelineEntry.objects.values()), list(Incident.objects.values())

    with pytest.raises(Refused, match=f"kim may not decide .*fulfillment.decide_{verb} is missing"):
        recovery.decide(asks(order, verb, almost, evidence="e", amount_minor=100, owner="kim"))

    assert (list(Saga.objects.values()), list(TimelineEntry.objects.values()), list(Incident.objects.values())) == before
    assert refused() == [("kim", verb, "ORD-1")]


@pytest.mark.parametrize(
    ("words", "permission"),
    [
        (("decide", "ORD-1", "retry", "--version", "1", "--reason", "r"), "fulfillment.decide_retry"),
        (("retry_orders", "--batch", "1", "--yes", "--reason", "r"), "fulfillment.decide_retry"),
        (("circuit", "hold", PAY, "--reason", "r"), "fulfillment.hold_circuit"),
        (("circuit", "release", PAY, "--reason", "r"), "fulfillment.release_circuit"),
        (("replay", "--all", "--yes", "--reason", "r"), "sideeffects.replay_delivery"),
        (("deliveries", "--discard", "email", "--reason", "r"), "sideeffects.discard_delivery"),
        (("forget", "a@example.com", "--yes", "--reason", "r"), "orders.forget_customer"),
    ],
)
def test_a_command_is_refused_to_a_user_without_its_permission(
    order: Order, sign_in: SignIn, words: tuple[str, ...], permission: str
) -> None:
    """The user's own permissions are asked, those of Django's admin."""
    sign_in("kim", *({name.split(".")[1] for name in EVERYTHING} - {permission.split(".")[1]}))

    with pytest.raises(SystemExit, match=f"the permission {permission} is missing. Nothing was done."):
        call_command(*words)

    assert [who for who, _, _ in refused()] == ["kim"]


def test_a_user_with_just_that_permission_may(order: Order, sign_in: SignIn) -> None:
    sign_in("kim", "decide_note")

    note(order)

    assert TimelineEntry.objects.get(kind="operator").actor == "kim"
    assert refused() == []


# --- two persons ------------------------------------------------------------------------------------------------------------


def test_two_persons_are_two_users_however_they_are_called(order: Order, saga: int) -> None:
    """A renamed user is the same person; a second user with the same name is a second one."""
    undo_failed(saga)
    closing: dict[str, Any] = {"verb": "close", "amount_minor": 100}
    assert recovery.decide(asks(order, **closing)).outcome == "proposed"

    with pytest.raises(Refused, match="You have proposed this yourself"):
        recovery.decide(asks(order, by=actor(AMARA.user, "Amara O."), **closing))

    assert Saga.objects.get().state == SagaState.NEEDS_ATTENTION
    assert recovery.decide(asks(order, by=actor(TUNDE.user, "amara"), **closing)).outcome == "done"


def test_a_proposal_of_older_code_names_nobody_who_can_be_told_apart(order: Order, saga: int) -> None:
    """It says by a name that was typed who has proposed: it is proposed anew."""
    undo_failed(saga)
    Incident.objects.update(proposal={"verb": "close", "amount_minor": 100, "actor": "amara", "reason": "r"})

    assert recovery.decide(asks(order, "close", TUNDE, amount_minor=100)).outcome == "proposed"
    assert recovery.decide(asks(order, "close", AMARA, amount_minor=100)).outcome == "done"


@pytest.mark.parametrize(
    "ended",
    [{"is_active": False}, {"is_staff": False}, {"is_superuser": False}],
    ids=["has left", "no operator any more", "lost the permission"],
)
def test_a_proposal_ends_with_the_right_of_whoever_has_made_it(order: Order, saga: int, amara: User, ended: dict[str, bool]) -> None:
    """She was dismissed for what she had proposed: her word and mine are not two."""
    undo_failed(saga)
    recovery.decide(asks(order, "close", operators.of_user(amara), amount_minor=100))
    User.objects.filter(pk=amara.pk).update(**ended)

    assert recovery.decide(asks(order, "close", TUNDE, amount_minor=100)).outcome == "proposed"

    assert Saga.objects.get().state == SagaState.NEEDS_ATTENTION
    assert recovery.decide(asks(order, "close", AMARA, amount_minor=100)).outcome == "done"


def test_who_agrees_agrees_to_what_is_at_risk_now(order: Order, saga: int) -> None:
    undo_failed(saga)
    recovery.decide(asks(order, "close", amount_minor=100))
    proposal = Incident.objects.get().proposal
    assert proposal is not None
    Incident.objects.update(proposal=proposal | {"at_risk_minor": 1})

    assert recovery.decide(asks(order, "close", TUNDE, amount_minor=100)).outcome == "proposed"


def test_the_same_press_is_the_same_user_s(order: Order) -> None:
    """Somebody else with my name has not pressed my button."""
    mine = asks(order)
    assert [recovery.decide(mine).outcome for _ in range(2)] == ["done", "repeated"]
    assert recovery.decide(asks(order, by=actor(AMARA.user, "Amara O."))).outcome == "done"

    with pytest.raises(Refused, match="has changed while you were looking"):
        recovery.decide(Request(order="ORD-1", verb="note", version=mine.version, actor=actor(7, "amara"), reason="r"))


# --- what was refused is kept ---------------------------------------------------------------------------------------------------


def test_a_refused_attempt_is_in_the_audit_log_and_makes_nobody_s_version_stale(order: Order, saga: int, sign_in: SignIn) -> None:
    """I see who has tried what; and whoever tries a hundred times keeps nobody from deciding."""
    undo_failed(saga)
    waiting = asks(order, "retry", TUNDE)

    with pytest.raises(Refused):
        recovery.decide(asks(order, "skip"))

    told = io.StringIO()
    call_command("timeline", "ORD-1", stdout=told)
    assert " Refused: amara, skip: ORD-1 stands at “Needs attention”: skip is not legal now." in told.getvalue()
    listed = io.StringIO()
    call_command("refused", "--user", "amara", stdout=listed)
    assert " · amara · skip · ORD-1 · ORD-1 stands at" in listed.getvalue()
    assert recovery.decide(waiting).outcome == "done"


@pytest.mark.parametrize("typed", ["4242 4242 4242 4242", "amara okafor, 12 Harbour Rd"])
def test_nothing_of_what_was_typed_is_kept(order: Order, saga: int, typed: str) -> None:
    undo_failed(saga)

    with pytest.raises(Refused):
        recovery.decide(asks(order, "skip", reason=typed, evidence=typed, owner=typed))
    with pytest.raises(Refused):
        circuits.hold("4242 4242 4242 4242", AMARA, "r")

    kept = str(list(RefusedAttempt.objects.values()))
    assert typed not in kept
    assert "4242 4242" not in kept


@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_audit_log_is_append_only(order: Order, change: str) -> None:
    with pytest.raises(Refused):
        recovery.decide(asks(order, "skip"))

    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        RefusedAttempt.objects.all().delete() if change == "delete" else RefusedAttempt.objects.update(actor="nobody")


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
