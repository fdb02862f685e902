"""Promise: each verb does what its name says, with the provider's answer where it needs one."""

from typing import Any

import pytest

from fulfillment import engine, ledger, recovery
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.models import Incident
from orders.timeline import TimelineEntry
from tests.fulfillment.commands.conftest import Manage, decide, state, stuck, version
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.driving import compensation_failed, in_doubt, refund_goes_on


@pytest.fixture
def provider(sandbox: SandboxProcess, settings: Any) -> SandboxProcess:
    settings.SANDBOX_URL = sandbox.url
    return sandbox


def test_look_up_shows_the_provider_s_answer_and_moves_nothing(saga: int, manage: Manage, provider: SandboxProcess) -> None:
    in_doubt(saga)
    nothing = manage(decide("look_up"))
    provider.charge("ORD-1", amount=100, key="ORD-1:payment:do:1:testsnonce")

    found = manage(decide("look_up"))

    assert nothing.out == "ORD-1: the provider shows no payment under ORD-1:payment:do:1:testsnonce\n"
    assert "the provider shows payment under ORD-1:payment:do:1:testsnonce (charge_id ch_" in found.out
    assert "€1.00 of it is left" in found.out
    assert StepRecord.objects.get(saga=saga, name="payment").state == StepState.IN_DOUBT
    assert "amara: look up (payment), answer the provider shows no payment" in manage("timeline ORD-1").out


def test_look_up_at_a_provider_that_is_down_is_refused(saga: int, manage: Manage, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:9"
    in_doubt(saga)

    refused = manage(decide("look_up"))

    assert (refused.code, refused.out) == (1, "")
    assert "The provider could not be asked" in refused.err


def test_it_happened_takes_the_provider_s_receipt_and_goes_on(saga: int, manage: Manage, provider: SandboxProcess) -> None:
    in_doubt(saga)
    provider.charge("ORD-1", amount=100, key="ORD-1:payment:do:1:testsnonce")

    assert manage(decide("it_happened", "--evidence statement-11")).code == 0

    record = StepRecord.objects.get(saga=saga, name="payment")
    assert (record.state, record.evidence) == (StepState.DONE_BY_HAND, "statement-11")
    assert ledger.remaining(Saga.objects.get(pk=saga).order_id) == 100
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    assert launch.steps == ("inventory", "shipping")


def test_it_did_not_happen_runs_it_again_under_the_same_key(saga: int, manage: Manage) -> None:
    in_doubt(saga)

    assert manage(decide("it_did_not")).code == 0

    launch = recovery.inspect_saga(saga)
    assert launch is not None
    claim = engine.start(saga, launch.epoch, "payment", compensating=False)
    assert claim is not None
    assert (claim.key, claim.tries) == ("ORD-1:payment:do:1:testsnonce", 1)


def test_what_waits_is_tried_now(saga: int, manage: Manage) -> None:
    in_doubt(saga)
    Saga.objects.filter(pk=saga).update(wake_at="2099-01-01T00:00Z")

    assert manage(decide("retry_now")).code == 0

    assert recovery.inspect_saga(saga) is not None


def test_a_stuck_order_is_compensated_when_a_person_says_so(saga: int, manage: Manage) -> None:
    stuck(saga)
    assert "launched 12 times without any progress" in manage("why ORD-1").out

    assert manage(decide("start_undo")).code == 0

    assert state(saga) == SagaState.COMPENSATING
    refund_goes_on(saga)
    assert state(saga) == SagaState.COMPENSATED


def test_an_incident_is_assigned_and_snoozed_until_its_hour(saga: int, manage: Manage) -> None:
    """Who takes care of it is shown; what is snoozed is out of the way, not lost."""
    compensation_failed(saga)

    manage(decide("assign", "--owner tunde"))
    assert "tunde takes care of it" in manage("why ORD-1").out
    manage(decide("snooze", "--until 2099-01-01T09:00"))

    assert manage("incidents").out == "Nothing waits for a person. 1 snoozed (--all lists them).\n"
    assert "snoozed until 2099-01-01 09:00:00" in manage("incidents --all").out
    assert manage("retry_orders --all").out.startswith("1 selected: 0 will be retried, 1 skipped (1 snoozed).")
    assert "That instant has passed" in manage(decide("snooze", "--until 2020-01-01T09:00+02:00")).err
    Incident.objects.update(snoozed_until="2020-01-01T07:00Z")
    assert "1 order · €1.00 at risk" in manage("incidents").out


def test_everything_can_be_had_as_json(saga: int, manage: Manage) -> None:
    compensation_failed(saga)

    why, history, waiting = manage("why ORD-1 --json").json, manage("timeline ORD-1 --json").json, manage("incidents --all --json").json
    done = manage(f"{decide('note')} --json").json

    assert why["version"] == history["version"] == history["entries"][-1]["id"]
    assert (why["blocked_on"], why["next_at"], why["runbook"]) == ("a person", None, "docs/runbooks/compensation_exhausted.md")
    assert [choice["verb"] for choice in why["choices"]] == ["retry", "look_up", "undone_by_hand", "close", "assign", "snooze", "note"]
    assert why["incidents"][0]["amount_minor"] == 100
    assert waiting["groups"][0]["at_risk"] == {"EUR": 100}
    assert [incident["order"] for incident in waiting["incidents"]] == ["ORD-1"]
    assert (done["outcome"], done["version"]) == ("done", version())


def test_the_history_is_numbered_and_its_last_number_is_the_version(saga: int, manage: Manage) -> None:
    lines = manage("timeline ORD-1").out.splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == [str(entry.pk) for entry in TimelineEntry.objects.order_by("id")]
    assert lines[-1] == f"ORD-1 is at version {version()}."
