"""Promise: a provider's outage spends nobody's budget. Orders wait, one of them asks now and then, and when it answers all go on; a person is told once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitEntry, CircuitState
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Throttled, Unavailable
from fulfillment.explanation import explain
from fulfillment.gateways import http
from fulfillment.models import Quarantine, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.recovery import circuits
from fulfillment.release import RELEASE
from orders.models import Incident, Order, OrderLine
from tests.actors import AMARA, BELA
from tests.conftest import SignIn
from tests.fulfillment.conftest import now_due
from tests.holding import held

PAY = "payments.sandbox.do"
REFUND = "payments.sandbox.undo"
SILENCE = InDoubt("The provider did not answer in time.", code="timeout")
DOWN = Unavailable("The provider could not be reached.", code="connect_failed")
Place = Callable[..., int]


@pytest.fixture
def place(db: None) -> Place:
    """A new order's saga, by number."""
    client = User.objects.create(username="web-shop")
    StockLevel.objects.create(sku="MUG", on_hand=100)
    columns: dict[str, Any] = {"currency": "EUR", "total_minor": 100, "customer_email": "a@example.com", "customer_name": "A"}

    def placed(number: int) -> int:
        order = Order.objects.create(
            number=f"ORD-{number}",
            client=client,
            idempotency_key=str(number),
            shipping_address={},
            payment_token="t",
            correlation_id="c",
            **columns,
        )
        OrderLine.objects.create(order=order, sku="MUG", name="Mug", quantity=1, unit_price_minor=100)
        return engine.open_saga(order).saga

    return placed


def found(saga: int) -> Saga:
    return Saga.objects.select_related("order").get(pk=saga)


def record(saga: int, name: str = "payment") -> StepRecord:
    return StepRecord.objects.get(saga=saga, name=name)


def tries(saga: int, error: StepError | None = None, name: str = "payment", undo: bool = False) -> bool:
    """One start, and what became of it. False: it may not start."""
    claim = engine.start(saga, found(saga).epoch, name, undo)
    if claim is None:
        engine.could_not_start(saga, found(saga).epoch)
        return False
    if error is None:
        engine.settle_success(claim, {"charge_id": "ch", "amount_minor": 100} if name == "payment" else {})
    else:
        engine.settle_failure(claim, error)
    return True


def circuit(name: str = PAY) -> Circuit:
    return Circuit.objects.get(pk=name)


def opened(place: Place, error: StepError = DOWN) -> list[int]:
    """Three orders have failed: the circuit of payments is open."""
    sagas = [place(number) for number in (1, 2, 3)]
    for saga in sagas:
        assert tries(saga, error)
    assert circuit().state == CircuitState.OPEN
    for saga in sagas:
        now_due(saga)
        recovery.look(saga)
    return sagas


def time_passes(seconds: float) -> None:
    """For whoever waits and for every circuit."""
    by = timedelta(seconds=seconds)
    Saga.objects.update(
        opened_at=F("opened_at") - by, deadline_at=F("deadline_at") - by, wake_at=F("wake_at") - by, held_at=F("held_at") - by
    )
    StepRecord.objects.update(
        first_started_at=F("first_started_at") - by, granted_at=F("granted_at") - by, undo_granted_at=F("undo_granted_at") - by
    )
    Circuit.objects.update(next_probe_at=F("next_probe_at") - by, probe_until=F("probe_until") - by, opened_at=F("opened_at") - by)


def next_probe() -> int:
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")
    (launch,) = recovery.circuit_probes()
    return launch.saga


# --- opening ---------------------------------------------------------------------------------------------------------------


def test_one_order_that_fails_again_and_again_does_not_open_it(place: Place) -> None:
    """It may be the order that is poisonous: its own budget is spent, as ever."""
    saga = place(1)
    for _ in range(settings.STEP_TRIES):
        assert tries(saga, SILENCE)
        now_due(saga)
        recovery.look(saga)

    assert circuit().state == CircuitState.CLOSED
    assert found(saga).state == SagaState.COMPENSATING


def test_three_different_orders_open_it_and_a_success_between_them_forgets(place: Place) -> None:
    a, b, c, d = (place(number) for number in range(1, 5))
    tries(a, DOWN)
    tries(b, DOWN)
    assert tries(c)
    assert circuit().failures == []

    tries(d, DOWN)
    assert circuit().state == CircuitState.CLOSED


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no", code="card_declined"),
        Busy("working on it"),
        Throttled("slowly", retry_after_s=7),
        InDoubt("late", code="past_lease", provider_failed=False),
    ],
    ids=["rejected", "busy", "429", "our own trouble"],
)
def test_an_answer_and_our_own_trouble_do_not_count(place: Place, error: StepError) -> None:
    for number in range(1, 6):
        assert tries(place(number), error)

    assert not Circuit.objects.filter(state=CircuitState.OPEN).exists()


def test_a_provider_that_asks_for_patience_gets_it_and_no_try_is_spent(place: Place) -> None:
    saga = place(1)
    for _ in range(settings.STEP_TRIES + 2):
        assert tries(saga, Throttled("slowly", retry_after_s=7))
        assert (found(saga).wake_at - record(saga).settled_at).total_seconds() > 6.9  # type: ignore[operator]
        now_due(saga)
        recovery.look(saga)

    assert (record(saga).tries, found(saga).state) == (0, SagaState.RUNNING)


def test_while_one_provider_is_out_another_one_needs_one_failure(place: Place) -> None:
    """What takes away one may take away all: two orders at the carrier are not turned back because there are only two of them."""
    at_refund = place(9)
    tries(at_refund)
    StepRecord.objects.filter(saga=at_refund, name="inventory").update(state=StepState.REJECTED, error_message="none")
    engine.chain_stopped(at_refund, 1)
    opened(place)

    assert tries(at_refund, DOWN, undo=True)

    assert circuit(REFUND).state == CircuitState.OPEN
    assert found(at_refund).held_by == REFUND


# --- while it is open ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DOWN, SILENCE], ids=["unavailable", "in doubt"])
def test_an_outage_of_hours_spends_nothing(place: Place, error: StepError) -> None:
    """Neither tries, nor time, nor the count of launches; and nobody is turned back."""
    sagas = opened(place, error)
    for _ in range(3 * settings.STEP_TRIES):
        time_passes(settings.SAGA_DEADLINE_S)
        probe = next_probe()
        assert tries(probe, error)
        for saga in sagas:
            now_due(saga)
            recovery.look(saga)

    for saga in sagas:
        assert (found(saga).state, record(saga).tries, found(saga).relaunches) == (SagaState.RUNNING, 1, 0)

    assert tries(next_probe())
    assert circuit().state == CircuitState.CLOSED
    list(recovery.circuit_probes())
    for saga in sagas:
        if record(saga).state != StepState.SUCCEEDED:
            now_due(saga)
            assert recovery.look(saga) is not None
            assert tries(saga)
    assert {record(saga).state for saga in sagas} == {StepState.SUCCEEDED}


def test_nothing_starts_before_an_open_circuit(place: Place) -> None:
    opened(place)
    saga = place(4)

    assert not tries(saga)

    assert found(saga).held_by == PAY
    assert found(saga).wake_at is not None
    assert record(saga).tries == 0


def test_an_undo_waits_too_and_is_never_exhausted(place: Place) -> None:
    sagas = [place(number) for number in range(1, 4)]
    for saga in sagas:
        tries(saga)
        StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.REJECTED, error_message="none")
        engine.chain_stopped(saga, 1)
    for _ in range(2 * settings.UNDO_TRIES):
        for saga in sagas:
            tries(saga, DOWN, undo=True)
            now_due(saga)
            recovery.look(saga)
        time_passes(settings.UNDO_DEADLINE_S)
        probe = next_probe()
        assert tries(probe, DOWN, undo=True)

    assert {found(saga).state for saga in sagas} == {SagaState.COMPENSATING}
    list(recovery.circuit_probes())
    assert [(told.subject, told.amount_minor) for told in Incident.objects.all()] == [(REFUND, 300)], "what is captured is at risk"


def test_a_worker_that_dies_as_the_probe_burns_nothing_and_does_not_hold_it(place: Place) -> None:
    sagas = opened(place)
    probe = next_probe()
    assert engine.start(probe, found(probe).epoch, "payment", undo=False) is not None
    assert list(recovery.circuit_probes()) == [], "one probe at a time"

    time_passes(2 * settings.LEASE_S)
    now_due(probe)
    recovery.look(probe)

    assert (record(probe).state, record(probe).tries) == (StepState.IN_DOUBT, 1)
    assert next_probe() in set(sagas) - {probe}


def test_the_probe_rotates(place: Place) -> None:
    """One order that fails for reasons of its own cannot keep it open."""
    sagas = opened(place)
    probes = []
    for _ in range(6):
        probes.append(next_probe())
        assert tries(probes[-1], DOWN)

    assert probes == sagas * 2


@pytest.mark.django_db(transaction=True)
def test_an_order_on_which_nobody_can_work_does_not_hold_it_open(place: Place) -> None:
    """The oldest of those who wait cannot even be read: the next one asks in its place, in the same round."""
    first, second, *_ = opened(place)
    Saga.objects.filter(pk=first).update(plan=["poison"])

    assert next_probe() == second
    assert Quarantine.objects.get().saga_id == first


def test_those_of_a_newer_release_do_not_stand_in_the_probe_s_way(place: Place) -> None:
    """A deploy was taken back: more of its orders than are looked at for one probe come next in turn, and this code may not judge them."""
    sagas = opened(place)
    newer = [place(number) for number in range(10, 16)]
    for saga in newer:
        tries(saga)
    Saga.objects.filter(pk__in=newer).update(release=RELEASE + 1)
    Circuit.objects.update(probe=sagas[-1])

    assert next_probe() == sagas[0]


def test_an_open_circuit_before_which_only_newer_orders_wait_stays_open(place: Place) -> None:
    """This code has nobody to send ahead, and somebody waits all the same."""
    opened(place)
    Saga.objects.update(release=RELEASE + 1)
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")

    assert list(recovery.circuit_probes()) == []
    assert circuit().state == CircuitState.OPEN


def test_a_probe_that_fails_waits_longer_each_time(place: Place) -> None:
    opened(place)
    waits = []
    for _ in range(4):
        assert tries(next_probe(), DOWN)
        now = circuit()
        assert now.next_probe_at is not None
        waits.append((now.next_probe_at - record(now.probe or 0).settled_at).total_seconds())  # type: ignore[operator]

    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


# --- closing -------------------------------------------------------------------------------------------------------------------


def test_the_time_that_it_took_is_given_back(place: Place) -> None:
    sagas = opened(place)
    before = found(sagas[0]).deadline_at
    time_passes(1000)
    assert tries(next_probe())
    now_due(sagas[1])

    assert recovery.look(sagas[1]) is not None

    after = found(sagas[1])
    assert before is not None
    assert after.deadline_at is not None
    assert abs((after.deadline_at - before).total_seconds()) < 5, "as much time is left as when it began to wait"
    assert after.paused_s > 999
    assert (after.held_by, after.held_at) == ("", None)


def test_those_who_wait_come_back_a_few_each_second(place: Place) -> None:
    opened(place)
    waiting = [place(number) for number in range(10, 50)]
    for saga in waiting:
        tries(saga)
    assert tries(next_probe())

    list(recovery.circuit_probes())

    due = sorted(found(saga).wake_at for saga in waiting)  # type: ignore[type-var]
    spread_s = (due[-1] - due[0]).total_seconds()  # type: ignore[operator]
    assert spread_s == pytest.approx((len(waiting) - 1) / circuits.WOKEN_PER_S, abs=0.2)


def test_a_success_on_a_closed_circuit_writes_nothing(place: Place) -> None:
    assert tries(place(1))

    assert not Circuit.objects.exists()


def test_a_refusal_is_an_answer(place: Place) -> None:
    """The provider works: it declines."""
    opened(place)

    assert tries(next_probe(), Rejected("declined", code="card_declined"))

    assert circuit().state == CircuitState.CLOSED


# --- people --------------------------------------------------------------------------------------------------------------------


def test_one_incident_tells_of_all_and_closes_itself(place: Place) -> None:
    sagas = opened(place)
    for number in range(4, 8):
        tries(place(number))
    list(recovery.circuit_probes())

    incident = Incident.objects.get()
    assert (incident.kind, incident.subject, incident.amount_minor) == ("provider_down", PAY, 0)
    assert "Payments (sandbox) has not answered since" in incident.sentence
    assert "7 orders wait, €7.00 in all." in incident.sentence
    assert "has not answered since" in explain(found(sagas[0]).order).sentence

    assert tries(next_probe())
    list(recovery.circuit_probes())

    assert not Incident.objects.exclude(state="resolved").exists()


def test_an_order_that_was_never_asked_for_is_cancelled_at_once(place: Place) -> None:
    opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    assert not tries(saga)
    assert record(saga).state == StepState.PENDING

    assert recovery.cancel("ORD-4", "amara") == "accepted"
    recovery.look(saga)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")


def test_a_cancel_of_what_was_perhaps_called_is_undone_and_waits_for_that(place: Place) -> None:
    """Nobody knows whether it was charged: the undo waits for the provider."""
    saga, *_ = opened(place, SILENCE)

    assert recovery.cancel("ORD-1", "amara") == "accepted"
    recovery.look(saga)

    assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATING, StepState.UNDO_GRANTED)
    assert found(saga).held_by == ""


def test_after_the_limit_a_person_decides_about_what_was_never_called(place: Place) -> None:
    called, *_ = opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    tries(saga)
    time_passes(settings.PROVIDER_OUTAGE_LIMIT_S + 1)
    for waiting in (saga, called):
        now_due(waiting)
        recovery.look(waiting)

    told = Incident.objects.exclude(order=None).get()
    assert (told.subject, told.kind, told.code) == ("ORD-4", "provider_down", "never_asked")
    order = found(saga).order
    assert {choice.verb for choice in explain(order).choices} >= {"start_undo", "snooze"}
    assert "start_undo" in {choice.verb for choice in explain(found(called).order).choices}

    version = recovery.version_of(order.pk)
    recovery.decide(recovery.Request(order="ORD-4", verb="start_undo", version=version, actor=AMARA, reason="they wait no longer"))

    assert found(saga).state == SagaState.COMPENSATED
    assert not Incident.objects.exclude(state="resolved").exclude(order=None).exists()


def test_what_was_told_is_over_when_the_provider_answers(place: Place) -> None:
    opened(place)
    time_passes(2 * settings.LEASE_S)
    saga = place(4)
    tries(saga)
    time_passes(settings.PROVIDER_OUTAGE_LIMIT_S + 1)
    now_due(saga)
    recovery.look(saga)
    assert tries(next_probe())

    now_due(saga)
    assert recovery.look(saga) is not None

    assert not Incident.objects.exclude(state="resolved").exclude(order=None).exists()
    assert tries(saga)


def test_a_person_holds_a_circuit_and_releases_it(place: Place) -> None:
    circuits.hold(PAY, AMARA, "the bank has asked us to stop")
    saga = place(1)

    assert not tries(saga)
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")
    assert list(recovery.circuit_probes()) == [], "nobody is sent ahead"
    assert "held back by amara" in Incident.objects.get().sentence

    circuits.release(PAY, BELA, "they are ready")
    list(recovery.circuit_probes())
    now_due(saga)
    assert recovery.look(saga) is not None
    assert tries(saga)
    told = CircuitEntry.objects.values_list("to_state", "actor", "reason")
    assert list(told) == [("open", "amara", "the bank has asked us to stop"), ("closed", "bela", "they are ready")]


def test_the_command_shows_holds_and_releases(place: Place, sign_in: SignIn, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator's stop is one line, and undone by one."""
    sign_in()
    call_command("circuit", "hold", PAY, "--reason", "asked to")
    assert not tries(place(1))
    call_command("circuit")
    told = capsys.readouterr().out
    assert "Payments (sandbox) is held back by amara since" in told
    assert "1 order waits, €1.00 in all. Runbook docs/runbooks/provider_down.md" in told
    assert "1 of 20 circuits are open." in told
    call_command("incidents")
    told = capsys.readouterr().out
    assert "provider_down · payments.sandbox.do · 1 circuit · no money at risk" in told
    assert "(asked to); 1 order waits, €1.00 in all. Runbook docs/runbooks/provider_down.md" in told
    assert told.splitlines()[-1] == "1 circuit in 1 group, no money at risk."

    call_command("circuit", "release", PAY, "--reason", "over")
    call_command("circuit", "release", PAY, "--reason", "over")

    told = capsys.readouterr().out
    assert "Those who wait go on, 20 a second at most." in told
    assert "is closed. Nothing was done." in told


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

    assert list(recovery.circuit_probes()) == []
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
        assert not error.provider_failed


# --- what is told is never in the way ---------------------------------------------------------------------------------------


def due_again() -> None:
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z", probe_until=None)


THE_INCIDENT = "SELECT 1 FROM orders_incident WHERE kind = 'provider_down' FOR UPDATE"


@pytest.mark.django_db(transaction=True)
def test_whoever_holds_the_incident_does_not_hold_the_circuit_open(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A forgotten psql has its row: the provider is asked all the same, and what cannot be told now is logged once."""
    opened(place)
    list(recovery.circuit_probes())
    tries(place(4))
    memory = recovery.Memory()

    with held(THE_INCIDENT):
        due_again()
        (probe,) = recovery.circuit_probes(memory)
        assert tries(probe.saga)
        assert circuit().state == CircuitState.CLOSED
        for _ in range(3):
            list(recovery.circuit_probes(memory))
        woken = dict(Saga.objects.filter(held_by=PAY).values_list("pk", "wake_at"))
        list(recovery.circuit_probes(memory))
        assert dict(Saga.objects.filter(held_by=PAY).values_list("pk", "wake_at")) == woken

    assert len(woken) == 3
    assert caplog.text.count("could not be looked after") == 1
    assert Incident.objects.get(kind="provider_down").is_open
    list(recovery.circuit_probes(memory))
    assert not Incident.objects.get(kind="provider_down").is_open
    assert not circuit().wakes
