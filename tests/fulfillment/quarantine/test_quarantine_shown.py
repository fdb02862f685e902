"""Promise: of an order on which nobody can work the truth is shown everywhere, and a person may decide what can be decided."""

import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from fulfillment import plans, recovery
from fulfillment.explanation import explain
from fulfillment.findings import incidents, orders, sweep
from fulfillment.models import Quarantine, Saga, StepRecord
from fulfillment.recovery import Refused, Request, bulk_retries
from fulfillment.retry_batches import RetryBatch
from orders import client_tokens
from orders.api import representation as shown
from orders.incidents import Incident, IncidentKind, open_incident
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA
from tests.conftest import SignIn
from tests.fulfillment.driving import copy_of
from tests.fulfillment.quarantine.conftest import sql
from tests.holding import held as held_rows

PLANS: dict[str, Any] = {"a word": ["poison"], "null": None, "a number": 7, "an entry without a name": [{"version": 1}]}
CORRUPT = "\\x0000000000000000"  # no array, no object: whoever reads it hears XX000


def held(saga: int, order: Order, notified: bool = True, failures: int = 12) -> Quarantine:
    if notified:
        open_incident(
            IncidentKind.QUARANTINED,
            subject=order.number,
            order_id=order.pk,
            code="sweep_failed",
            currency="EUR",
            amount_minor=order.total_minor,
        )
    at = order.placed_at
    return Quarantine.objects.create(
        saga_id=saga, order_id=order.pk, failures=failures, code="TypeError", first_at=at, last_at=at, inspect_at=at
    )


def fresh(order: Order) -> Order:
    return Order.objects.prefetch_related("incidents").get(pk=order.pk)


def request(order: Order, verb: str, **given: Any) -> Request:
    return Request(order=order.number, verb=verb, version=recovery.version_of(order.pk), actor=AMARA, **given)


def plan_becomes_corrupt(saga: int) -> None:
    """As if the page that holds it had been overwritten."""
    sql("CREATE CAST (bytea AS jsonb) WITHOUT FUNCTION")
    sql(f"UPDATE fulfillment_saga SET plan = '{CORRUPT}'::bytea::jsonb WHERE id = {saga}")
    sql("DROP CAST (bytea AS jsonb)")


def break_it(what: str, saga: int) -> None:
    if what in PLANS:
        sql("UPDATE fulfillment_saga SET plan = %s WHERE id = %s", json.dumps(PLANS[what]), saga)
    elif what == "a corrupt plan":
        plan_becomes_corrupt(saga)
    elif what == "no records":
        StepRecord.objects.filter(saga=saga).delete()
    elif what == "a receipt that is a word":
        StepRecord.objects.filter(saga=saga, name="payment").update(receipt="ch_1", state="succeeded")
    elif what == "a state that nobody knows":
        StepRecord.objects.filter(saga=saga, name="payment").update(state="weird")
    elif what == "a provider that is gone":
        sql("""UPDATE fulfillment_saga SET plan = jsonb_set(plan, '{0,gateway}', '"closed_bank"') WHERE id = %s""", saga)


BROKEN = [*PLANS, "a corrupt plan", "no records", "a receipt that is a word", "a state that nobody knows", "a provider that is gone"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_quarantine", [True, False], ids=["in quarantine", "not met yet"])
@pytest.mark.parametrize("what", BROKEN)
def test_every_surface_answers_whatever_is_wrong(
    what: str, in_quarantine: bool, saga: int, order: Order, capsys: pytest.CaptureFixture[str]
) -> None:
    """`why`, `timeline`, the order page, the list, the API and `doctor` show the order, and no page of theirs breaks."""
    if in_quarantine:
        held(saga, order)
    break_it(what, saga)
    browser, api = Client(), APIClient(headers={"Authorization": f"Token {client_tokens.issue(order.client).secret}"})
    browser.force_login(User.objects.create_superuser("amara"))

    call_command("why", "ORD-1")
    output = capsys.readouterr().out
    call_command("timeline", "ORD-1")
    page = browser.get(reverse("admin:orders_order_change", args=[order.pk]))
    listed = browser.get(reverse("admin:orders_order_changelist"))
    detail, many = api.get("/api/v1/orders/ORD-1?expand=why"), api.get("/api/v1/orders")
    findings = [one for finding in (sweep.quarantine, orders.orders, incidents.incidents) for one in finding()]

    assert [answer.status_code for answer in (page, listed, detail, many)] == [200, 200, 200, 200]
    assert "cannot be read" not in " ".join(one.found for one in findings)
    if in_quarantine:
        assert "No process can work on it. €1.00 at risk. The sweep has failed on it 12 times" in " ".join(output.split())
        assert "€1.00 at risk" in output
        assert "Someone has to look" in output
        assert "This is being looked at by a person." in detail.json()["why"]["sentence"]
        assert "the sweep cannot work on 1 order" in " ".join(one.found for one in findings)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", [*PLANS, "a corrupt plan"])
def test_one_plan_that_cannot_be_read_does_not_hide_who_would_be_stranded(what: str, saga: int, order: Order) -> None:
    """A deploy that lacks the provider of another order is refused all the same."""
    break_it(what, saga)
    for number in ("ORD-2", "ORD-3"):
        break_it("a provider that is gone", copy_of(order, number))

    assert plans.stranded() == {"payments gateway 'closed_bank'": ["ORD-2", "ORD-3"]}
    with pytest.raises(CommandError, match="2 open orders need payments gateway 'closed_bank'"):
        plans.refuse_to_strand()


def test_before_a_person_is_notified_the_sentence_promises_it(saga: int, order: Order) -> None:
    held(saga, order, notified=False, failures=1)

    explanation = explain(fresh(order))

    assert explanation.sentence.startswith("The sweep has failed on it once")
    assert explanation.sentence.endswith("If that goes on, a person is notified.")
    assert explanation.blocked_on == "the sweep"
    assert explanation.public == "It takes longer than usual."
    assert explanation.next_at is not None


@pytest.mark.parametrize("notified", [False, True], ids=["not notified yet", "a person is notified"])
@pytest.mark.django_db(transaction=True)
def test_an_order_whose_rows_somebody_holds_waits_for_whoever_holds_them(notified: bool, saga: int, order: Order, settings: Any) -> None:
    """The sweep is well: the sentence blames whom it should, on every surface."""
    settings.POISON_AFTER, settings.BACKOFF_S, settings.BACKOFF_CAP_S = (1 if notified else 12), 0.0, 0.0
    Saga.objects.update(wake_at="2020-01-01T00:00Z")
    memory = recovery.Memory()
    with held_rows("SELECT FROM fulfillment_saga FOR UPDATE"):
        for _ in range(5):
            assert not any(recovery.due(memory=memory))
        order = fresh(order)
        shown_to_us, shown_to_client = explain(order), shown.why(order)
        finding = next(iter(sweep.quarantine()))

    assert "at the last inspection, at " in shown_to_us.sentence
    assert "somebody else held rows that it needs" in shown_to_us.sentence
    assert "It goes on by itself when they let go; `manage.py doctor` names them (locks)." in shown_to_us.sentence
    assert ("No process can work on it. €1.00 at risk. The sweep could not work on it " in shown_to_us.sentence) is notified
    assert shown_to_us.sentence.count("rows that it needs") == 1, "the cause is shown once"
    assert shown_to_us.blocked_on == ("a person" if notified else "whoever holds its rows")
    assert shown_to_client["blocked_on"] == ("a person" if notified else "our own database")
    assert "sweep" not in " ".join(str(value) for value in shown_to_client.values())
    assert "rows that 1 of them needs are held by somebody: see locks" in finding.found


def test_a_client_reads_nothing_of_our_processes(saga: int, order: Order) -> None:
    held(saga, order, notified=False, failures=1)

    assert explain(fresh(order)).blocked_on == "the sweep"
    assert shown.why(fresh(order))["blocked_on"] == "the shop"


def test_a_retry_inspects_again_now_and_whoever_is_notified_again_knows_why(saga: int, order: Order) -> None:
    """The person has repaired something: nobody waits for five minutes, and if it was not enough they hear so at once."""
    Saga.objects.filter(pk=saga).update(plan=["poison"], wake_at="2020-01-01T00:00Z")
    held(saga, order)
    Quarantine.objects.update(inspect_at="2100-01-01T00:00Z", notified_at="2020-01-01T00:00Z")

    answer = recovery.decide(request(order, "retry", reason="the disk was replaced"))

    assert (answer.outcome, answer.sentence) == ("done", "ORD-1 is inspected again within a second.")
    assert not Incident.objects.get().is_open
    assert list(recovery.due()) == [[]]
    assert [incident.is_open for incident in Incident.objects.order_by("pk")] == [False, True]
    assert TimelineEntry.objects.filter(kind="operator", code="retry", actor="amara").count() == 1


def test_a_decision_in_quarantine_is_made_once_and_under_the_version_that_was_seen(saga: int, order: Order) -> None:
    held(saga, order)
    once = request(order, "note", reason="asked the bank")

    assert recovery.decide(once).outcome == "done"
    assert recovery.decide(once).outcome == "repeated"
    with pytest.raises(Refused, match="has changed while you were looking"):
        recovery.decide(Request(order="ORD-1", verb="retry", version=1, actor=AMARA, reason="now"))
    with pytest.raises(Refused, match="needs a reason"):
        recovery.decide(request(order, "retry"))


@pytest.mark.parametrize("verb", ["close", "start_undo", "undone_by_hand", "skip", "it_happened", "look_up", "retry_now"])
def test_what_would_be_derived_from_rows_that_cannot_be_read_is_refused(verb: str, saga: int, order: Order) -> None:
    held(saga, order)

    with pytest.raises(Refused, match=r"cannot be worked on by any process: \w+ is not legal now. Legal: assign, note, retry, snooze."):
        recovery.decide(request(order, verb, reason="r", evidence="e", amount_minor=100))


def test_somebody_takes_care_of_it(saga: int, order: Order) -> None:
    held(saga, order)

    assert recovery.decide(request(order, "assign", owner="bo")).outcome == "done"
    assert recovery.decide(request(order, "snooze", until=order.placed_at.replace(year=2100))).outcome == "done"

    assert (Incident.objects.get().owner, Incident.objects.get().state) == ("bo", "snoozed")


def test_an_order_that_nobody_has_met_yet_takes_a_note_all_the_same(saga: int, order: Order, caplog: pytest.LogCaptureFixture) -> None:
    Saga.objects.filter(pk=saga).update(plan=["poison"], state="needs_attention", wake_at=None)
    with caplog.at_level(logging.CRITICAL):
        assert recovery.decide(request(order, "note", reason="looks odd")).outcome == "done"
        with pytest.raises(Refused, match="is not legal now"):
            recovery.decide(request(order, "start_undo", reason="r"))


@pytest.mark.django_db(transaction=True)
def test_a_cancel_that_cannot_be_judged_is_answered_and_recorded_nowhere(saga: int, order: Order) -> None:
    """The customer hears that a person looks, and not an error of ours."""
    break_it("a word", saga)
    api = APIClient(headers={"Authorization": f"Token {client_tokens.issue(order.client).secret}"})

    answer = api.post("/api/v1/orders/ORD-1/cancel")

    assert answer.status_code == 409
    assert "looked at by a person" in answer.json()["detail"]
    assert Saga.objects.values_list("cancel_requested_at", flat=True).get() is None


def test_many_are_inspected_again_with_one_command(saga: int, order: Order, sign_in: SignIn, capsys: pytest.CaptureFixture[str]) -> None:
    sign_in()
    held(saga, order)
    Saga.objects.filter(pk=saga).update(plan=["poison"])

    call_command("retry_orders", "--kind", "quarantined")
    batch = RetryBatch.objects.get()
    call_command("retry_orders", "--batch", str(batch.pk), "--yes", "--reason", "code is back")
    assert bulk_retries.work() == 1

    assert "1 selected: 1 will be retried (€1.00 at risk), 0 skipped." in capsys.readouterr().out
    assert bulk_retries.counted(bulk_retries.outcomes(batch)) == "1 waiting"
    assert not Incident.objects.get().is_open
