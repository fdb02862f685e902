"""Promise: of an outage a person is notified once, and may hold a circuit; incidents are never in the way."""

import pytest
from django.conf import settings
from django.core.management import call_command

from fulfillment import recovery
from fulfillment.circuit import Circuit, CircuitEntry, CircuitState
from fulfillment.errors import CircuitSignal, InDoubt
from fulfillment.explanation import explain
from fulfillment.gateways import http
from fulfillment.models import Saga, SagaState, StepState
from fulfillment.recovery import circuits
from orders.models import Incident
from tests.actors import AMARA, BELA
from tests.conftest import SignIn
from tests.fulfillment.circuits.conftest import PAY, SILENCE, Place, circuit, found, next_probe, opened, record, time_passes, tries
from tests.fulfillment.conftest import now_due
from tests.holding import held

# --- people --------------------------------------------------------------------------------------------------------------------


def test_one_incident_stands_for_all_and_closes_itself(place: Place) -> None:
    sagas = opened(place)
    for number in range(4, 8):
        tries(place(number))
    list(recovery.launch_probes())

    incident = Incident.objects.get()
    assert (incident.kind, incident.subject, incident.amount_minor) == ("provider_down", PAY, 0)
    assert "Payments (sandbox) has not answered since" in incident.sentence
    assert "7 orders wait, €7.00 in all." in incident.sentence
    assert "has not answered since" in explain(found(sagas[0]).order).sentence

    assert tries(next_probe())
    list(recovery.launch_probes())

    assert not Incident.objects.exclude(state="resolved").exists()


def test_an_order_that_was_never_asked_for_is_cancelled_at_once(place: Place) -> None:
    opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    assert not tries(saga)
    assert record(saga).state == StepState.PENDING

    assert recovery.cancel("ORD-4", "amara") == "accepted"
    recovery.inspect_saga(saga)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")


def test_a_cancel_of_what_was_perhaps_called_is_compensated_and_waits_for_that(place: Place) -> None:
    """Nobody knows whether it was charged: the compensation waits for the provider."""
    saga, *_ = opened(place, SILENCE)

    assert recovery.cancel("ORD-1", "amara") == "accepted"
    recovery.inspect_saga(saga)

    assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATING, StepState.COMPENSATION_SCHEDULED)
    assert found(saga).held_by == ""


def test_after_the_limit_a_person_decides_about_what_was_never_called(place: Place) -> None:
    called, *_ = opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    tries(saga)
    time_passes(settings.PROVIDER_OUTAGE_LIMIT_S + 1)
    for waiting in (saga, called):
        now_due(waiting)
        recovery.inspect_saga(waiting)

    incident = Incident.objects.exclude(order=None).get()
    assert (incident.subject, incident.kind, incident.code) == ("ORD-4", "provider_down", "never_asked")
    order = found(saga).order
    assert {choice.verb for choice in explain(order).choices} >= {"start_undo", "snooze"}
    assert "start_undo" in {choice.verb for choice in explain(found(called).order).choices}

    version = recovery.version_of(order.pk)
    recovery.decide(recovery.Request(order="ORD-4", verb="start_undo", version=version, actor=AMARA, reason="they wait no longer"))

    assert found(saga).state == SagaState.COMPENSATED
    assert not Incident.objects.exclude(state="resolved").exclude(order=None).exists()


def test_an_incident_is_over_when_the_provider_answers(place: Place) -> None:
    opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    tries(saga)
    time_passes(settings.PROVIDER_OUTAGE_LIMIT_S + 1)
    now_due(saga)
    recovery.inspect_saga(saga)
    assert tries(next_probe())

    now_due(saga)
    assert recovery.inspect_saga(saga) is not None

    assert not Incident.objects.exclude(state="resolved").exclude(order=None).exists()
    assert tries(saga)


def test_a_person_holds_a_circuit_and_releases_it(place: Place) -> None:
    circuits.hold(PAY, AMARA, "the bank has asked us to stop")
    saga = place(1)

    assert not tries(saga)
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")
    assert list(recovery.launch_probes()) == [], "nobody is sent ahead"
    assert "held back by amara" in Incident.objects.get().sentence

    circuits.release(PAY, BELA, "they are ready")
    list(recovery.launch_probes())
    now_due(saga)
    assert recovery.inspect_saga(saga) is not None
    assert tries(saga)
    entries = CircuitEntry.objects.values_list("to_state", "actor", "reason")
    assert list(entries) == [("open", "amara", "the bank has asked us to stop"), ("closed", "bela", "they are ready")]


def test_the_command_shows_holds_and_releases(place: Place, sign_in: SignIn, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator's stop is one line, and taken back by one."""
    sign_in()
    call_command("circuit", "hold", PAY, "--reason", "asked to")
    assert not tries(place(1))
    call_command("circuit")
    output = capsys.readouterr().out
    assert "Payments (sandbox) is held back by amara since" in output
    assert "1 order waits, €1.00 in all. Runbook docs/runbooks/provider_down.md" in output
    assert "1 of 20 circuits are open." in output
    call_command("incidents")
    output = capsys.readouterr().out
    assert "provider_down · payments.sandbox.do · 1 circuit · no money at risk" in output
    assert "(asked to); 1 order waits, €1.00 in all. Runbook docs/runbooks/provider_down.md" in output
    assert output.splitlines()[-1] == "1 circuit in 1 group, no money at risk."

    call_command("circuit", "release", PAY, "--reason", "over")
    call_command("circuit", "release", PAY, "--reason", "over")

    output = capsys.readouterr().out
    assert "Those who wait go on, 20 a second at most." in output
    assert "is closed. Nothing was done." in output


@pytest.mark.parametrize("words", [("hold", "payments.nobody.do", "--reason", "r"), ("hold", PAY)], ids=["no such circuit", "no reason"])
def test_the_command_refuses_what_it_cannot_do(place: Place, sign_in: SignIn, words: tuple[str, ...]) -> None:
    sign_in()
    with pytest.raises(SystemExit):
        call_command("circuit", *words)

    assert not Circuit.objects.exclude(state=CircuitState.CLOSED).exists()


def test_a_button_that_changes_nothing_says_so(place: Place) -> None:
    """Retry now does not reach a provider that is out."""
    opened(place)

    assert recovery.retry_now("ORD-1", AMARA) == "held"


def test_a_circuit_closes_when_nobody_waits_for_it(place: Place) -> None:
    """There is nobody to send ahead; whoever comes next finds out."""
    opened(place)
    Saga.objects.update(held_by="", held_at=None)
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")

    assert list(recovery.launch_probes()) == []
    assert circuit().state == CircuitState.CLOSED


def test_credentials_that_are_refused_are_an_outage(place: Place) -> None:
    """A key of ours that has run out meets every order: none of them is turned back for it."""
    error = http.outcome(401, {"error": {"code": "bad_key"}}, ())
    assert isinstance(error, InDoubt)

    opened(place, error)


def test_an_answer_about_this_request_is_no_outage() -> None:
    """A provider that refuses one request in an unknown way still works."""
    for status in (404, 409, 422):
        error = http.outcome(status, {"error": {"code": "odd"}}, ())
        assert error is not None
        assert error.signal is CircuitSignal.SUCCESS


# --- incidents are never in the way -----------------------------------------------------------------------------------------


def due_again() -> None:
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z", probe_until=None)


THE_INCIDENT = "SELECT 1 FROM orders_incident WHERE kind = 'provider_down' FOR UPDATE"


@pytest.mark.django_db(transaction=True)
def test_whoever_holds_the_incident_does_not_hold_the_circuit_open(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A forgotten psql has its row: the provider is asked all the same, and an incident that cannot be opened now is logged once."""
    opened(place)
    list(recovery.launch_probes())
    tries(place(4))
    memory = recovery.Memory()

    with held(THE_INCIDENT):
        due_again()
        (probe,) = recovery.launch_probes(memory)
        assert tries(probe.saga)
        assert circuit().state == CircuitState.CLOSED
        for _ in range(3):
            list(recovery.launch_probes(memory))
        woken = dict(Saga.objects.filter(held_by=PAY).values_list("pk", "wake_at"))
        list(recovery.launch_probes(memory))
        assert dict(Saga.objects.filter(held_by=PAY).values_list("pk", "wake_at")) == woken

    assert len(woken) == 3
    assert caplog.text.count("could not be inspected") == 1
    assert Incident.objects.get(kind="provider_down").is_open
    list(recovery.launch_probes(memory))
    assert not Incident.objects.get(kind="provider_down").is_open
    assert not circuit().wakes
