"""Promise: each verb needs its own permission, two persons are two users, and what was refused is kept."""

import io
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, transaction

from fulfillment import recovery
from fulfillment.models import DECIDED_BY_PERSONS, Saga, SagaState
from fulfillment.recovery import Refused, Request, circuits
from orders import operators
from orders.models import Incident, Order, RefusedAttempt
from orders.timeline import TimelineEntry
from tests.actors import AMARA, EVERYTHING, TUNDE, actor
from tests.conftest import SignIn
from tests.fulfillment.driving import compensation_failed
from tests.fulfillment.identity.conftest import note, refused

PAY = "payments.sandbox.do"


def asks(order: Order, verb: str = "note", by: operators.Actor = AMARA, **given: Any) -> Request:
    return Request(order=order.number, verb=verb, version=recovery.version_of(order.pk), actor=by, **{"reason": "r"} | given)


# --- permissions ----------------------------------------------------------------------------------------------------------


def test_each_verb_has_a_permission_of_its_own() -> None:
    assert set(DECIDED_BY_PERSONS) == set(recovery.VERBS)


@pytest.mark.parametrize("verb", DECIDED_BY_PERSONS)
def test_a_verb_is_refused_without_its_permission_whatever_else_one_may(order: Order, saga: int, verb: str) -> None:
    compensation_failed(saga)
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
    compensation_failed(saga)
    closing: dict[str, Any] = {"verb": "close", "amount_minor": 100}
    assert recovery.decide(asks(order, **closing)).outcome == "proposed"

    with pytest.raises(Refused, match="You have proposed this yourself"):
        recovery.decide(asks(order, by=actor(AMARA.user, "Amara O."), **closing))

    assert Saga.objects.get().state == SagaState.NEEDS_ATTENTION
    assert recovery.decide(asks(order, by=actor(TUNDE.user, "amara"), **closing)).outcome == "done"


def test_a_proposal_of_older_code_names_nobody_who_can_be_told_apart(order: Order, saga: int) -> None:
    """It says by a name that was typed who has proposed: it is proposed anew."""
    compensation_failed(saga)
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
    compensation_failed(saga)
    recovery.decide(asks(order, "close", operators.of_user(amara), amount_minor=100))
    User.objects.filter(pk=amara.pk).update(**ended)

    assert recovery.decide(asks(order, "close", TUNDE, amount_minor=100)).outcome == "proposed"

    assert Saga.objects.get().state == SagaState.NEEDS_ATTENTION
    assert recovery.decide(asks(order, "close", AMARA, amount_minor=100)).outcome == "done"


def test_who_agrees_agrees_to_what_is_at_risk_now(order: Order, saga: int) -> None:
    compensation_failed(saga)
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
    compensation_failed(saga)
    waiting = asks(order, "retry", TUNDE)

    with pytest.raises(Refused):
        recovery.decide(asks(order, "skip"))

    output = io.StringIO()
    call_command("timeline", "ORD-1", stdout=output)
    assert " Refused: amara, skip: ORD-1 stands at “Needs attention”: skip is not legal now." in output.getvalue()
    listed = io.StringIO()
    call_command("refused", "--user", "amara", stdout=listed)
    assert " · amara · skip · ORD-1 · ORD-1 stands at" in listed.getvalue()
    assert recovery.decide(waiting).outcome == "done"


@pytest.mark.parametrize("typed", ["4242 4242 4242 4242", "amara okafor, 12 Harbour Rd"])
def test_nothing_of_what_was_typed_is_kept(order: Order, saga: int, typed: str) -> None:
    compensation_failed(saga)

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
