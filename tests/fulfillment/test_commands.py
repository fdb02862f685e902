"""Promise: an operator with a terminal sees why an order waits, decides with a pasted line, and finds the decision in its history; nothing happens twice."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import pytest
from django.conf import settings as shop_settings
from django.contrib.auth.models import User
from django.core.management import get_commands, load_command_class
from django.db import OperationalError
from django.db.models import F

from config.management.commands.sweep import Sweep
from fulfillment import engine, ledger, recovery
from fulfillment.batch import RetryBatch
from fulfillment.errors import Rejected
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import Refused, bulk
from orders import operators
from orders.attention import IncidentKind, open_incident
from orders.clock import shop_now
from orders.models import Incident, Order, RefusedAttempt
from orders.text import has_control
from orders.timeline import TimelineEntry
from tests.actors import AMARA, TUNDE, actor
from tests.conftest import SignIn
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.driving import cancel_refused, in_doubt, paid, parked_forward, refund_goes_on, start, undo_failed


@dataclass(frozen=True)
class Run:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


TOO_LATE = Rejected("It is too late to refund.", code="too_late")
Manage = Callable[[str], Run]


@pytest.fixture
def manage(capsys: pytest.CaptureFixture[str], sign_in: SignIn) -> Manage:
    """``manage("why ORD-1")``: as from a terminal, with its exit code, in this process and its transaction. By amara, or whom ``OPERATOR=`` before it names."""

    def run(line: str) -> Run:
        operator, line = re.fullmatch(r"(?:OPERATOR=(\w+) )?(.*)", line).groups("amara")  # type: ignore[union-attr]
        sign_in(operator)
        name, *words = shlex.split(line)
        capsys.readouterr()
        command: Any = load_command_class(str(get_commands()[name]), name)
        command._called_from_command_line = True
        code: Any = 0
        try:
            options = vars(command.create_parser("manage.py", name).parse_args(words))
            command.execute(*options.pop("args", ()), **options)
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        return Run(code, told.out, told.err) if isinstance(code, int) else Run(1, told.out, f"{told.err}{code}")

    return run


def version() -> int:
    return recovery.version_of(Order.objects.get(number="ORD-1").pk)


def decide(verb: str, more: str = "", actor: str = "amara") -> str:
    return f"OPERATOR={actor} decide ORD-1 {verb} --version {version()} --reason 'ticket 7' {more}"


def pasted(line: str, **given: str) -> str:
    """A line of ``why``, with what only the person knows typed into its gaps."""
    line = line.strip().removeprefix("python manage.py ")
    for option, value in given.items():
        line = line.replace(f'--{option} "…"', f'--{option} "{value}"').replace(f"--{option} …", f"--{option} {value}")
    assert "…" not in line
    return line


def state(saga: int) -> str:
    return Saga.objects.get(pk=saga).state


def journal(saga: int) -> tuple[Any, ...]:
    """Everything that a decision could change."""
    return (
        list(Saga.objects.filter(pk=saga).values()),
        list(StepRecord.objects.filter(saga=saga).values()),
        list(LedgerEntry.objects.values()),
        list(Incident.objects.values()),
        list(TimelineEntry.objects.values()),
    )


# --- an operator's way -----------------------------------------------------------------------------------------------------


def test_a_failed_refund_is_followed_to_its_end_with_the_commands_alone(saga: int, manage: Manage) -> None:
    """I see what waits, why, and what I may do; I paste a line; my decision is in the history."""
    undo_failed(saga)

    assert "undo_exhausted · payment · refund_declined · 1 order · €1.00 at risk" in manage("incidents").out
    why = manage("why ORD-1")
    assert why.code == 0
    assert "The order was being undone (inventory failed: MUG is out of stock)." in why.out
    assert (
        "(The provider refuses the refund). €1.00 at risk. €1.00 is still captured. Nothing is running. Someone has to decide." in why.out
    )
    assert "blocked on  a person" in why.out
    assert "runbook docs/runbooks/undo_exhausted.md" in why.out
    (line,) = [line for line in why.out.splitlines() if "decide ORD-1 undone_by_hand" in line]
    done = manage(pasted(line, reason="refunded in the bank's portal", evidence="re_77"))
    assert (done.code, done.err) == (0, "")
    assert done.out == "ORD-1: undone by hand is recorded. The sweep goes on from there within a second.\n"

    history = manage("timeline ORD-1").out
    assert "amara: undone by hand (payment), amount €1.00, evidence re_77: refunded in the bank's portal" in history
    assert "Incident resolved by amara: refunded in the bank's portal" in history
    assert state(saga) == SagaState.COMPENSATED
    assert "Undone in this order: payment." in manage("why ORD-1").out
    assert manage("incidents").out == "Nothing waits for a person.\n"


def test_a_retry_gives_a_refund_that_was_refused_a_fresh_budget_under_a_new_key(saga: int, manage: Manage) -> None:
    undo_failed(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(undo_tries=shop_settings.UNDO_TRIES)

    assert manage(decide("retry")).code == 0

    record = StepRecord.objects.get(saga=saga, name="payment")
    assert (record.state, record.undo_tries, record.undo_key) == (StepState.UNDO_GRANTED, 0, "ORD-1:payment:undo:2:testsnonce")
    refund_goes_on(saga)
    assert (state(saga), ledger.remaining(Saga.objects.get(pk=saga).order_id)) == (SagaState.COMPENSATED, 0)


@pytest.mark.parametrize("verb", ["retry", "undone_by_hand", "note", "assign"])
def test_the_same_line_pasted_twice_is_done_once(saga: int, manage: Manage, verb: str) -> None:
    """I press twice; the answer says that it was done already."""
    undo_failed(saga)
    line = decide(verb, "--evidence re_77 --amount-minor 100 --owner tunde")
    assert manage(line).code == 0
    before = journal(saga)

    again = manage(line)

    assert (again.code, again.out) == (0, f"ORD-1: {verb.replace('_', ' ')} was done already. Nothing was done twice.\n")
    assert journal(saga) == before


def test_a_decision_about_an_order_that_has_moved_on_is_refused(saga: int, manage: Manage) -> None:
    """I looked, somebody else decided, I decide: nothing is done, and I am told what the order is now."""
    undo_failed(saga)
    stale = decide("retry")
    manage(decide("note", actor="tunde"))
    before = journal(saga)

    refused = manage(stale)

    assert (refused.code, refused.out) == (1, "")
    assert "ORD-1 has changed while you were looking (it is now: Needs attention" in refused.err
    assert "Nothing was done." in refused.err
    assert journal(saga) == before


@pytest.mark.parametrize(("verb", "limit"), [("undone_by_hand", 50), ("close", 50_000)], ids=["above the limit", "money written off"])
def test_money_by_a_person_s_word_needs_two(saga: int, manage: Manage, settings: Any, verb: str, limit: int) -> None:
    """The first one proposes, and cannot agree with himself; the second one does it."""
    settings.SECOND_PERSON_ABOVE_MINOR = limit
    undo_failed(saga)
    first = decide(verb, "--amount-minor 100 --evidence re_77")

    proposed = manage(first)

    assert proposed.code == 0
    assert f"{verb.replace('_', ' ')} of €1.00 is proposed. A second person must ask for the same." in proposed.out
    assert state(saga) == SagaState.NEEDS_ATTENTION
    assert "you have proposed this already" in manage(first).out
    assert f"amara proposes: {verb} of €1.00; a second person must ask for the same" in manage("why ORD-1").out
    himself = manage(decide(verb, "--amount-minor 100 --evidence re_77"))
    assert (himself.code, "a second person must agree to €1.00" in himself.err) == (1, True)
    assert state(saga) == SagaState.NEEDS_ATTENTION
    (line,) = re.findall(r"→ (.*)", proposed.out)
    agreed = manage(f"OPERATOR=tunde {pasted(line, reason='I agree', evidence='re_77')}")
    assert (agreed.code, agreed.err) == (0, "")
    assert state(saga) == {"undone_by_hand": SagaState.COMPENSATED, "close": SagaState.CLOSED_BY_OPERATOR}[verb]
    assert ledger.remaining(Saga.objects.get(pk=saga).order_id) == 0
    history = manage("timeline ORD-1").out
    assert f"amara: proposes {verb.replace('_', ' ')} (payment), amount €1.00" in history
    assert f"tunde: {verb.replace('_', ' ')} (payment), amount €1.00" in history


def test_an_amount_up_to_the_limit_is_one_person_s(saga: int, manage: Manage, settings: Any) -> None:
    settings.SECOND_PERSON_ABOVE_MINOR = 100
    undo_failed(saga)

    assert "is recorded" in manage(decide("undone_by_hand", "--amount-minor 100 --evidence re_77")).out
    assert state(saga) == SagaState.COMPENSATED


def test_to_close_while_nobody_knows_whether_money_was_taken_needs_two(saga: int, manage: Manage) -> None:
    """The ledger shows nothing captured, which proves nothing."""
    cancel_refused(saga)

    assert "Close the order as it is (nobody knows whether €1.00 was taken)" in manage("why ORD-1").out
    assert "is proposed" in manage(decide("close", "--amount-minor 0")).out
    assert state(saga) == SagaState.NEEDS_ATTENTION
    assert "is recorded" in manage(decide("close", "--amount-minor 0", actor="tunde")).out
    assert state(saga) == SagaState.CLOSED_BY_OPERATOR


def test_what_is_at_risk_counts_and_not_what_was_typed(saga: int, manage: Manage, settings: Any) -> None:
    """Nobody knows whether the charge exists: a person who says "0 was given back" ends the search for all of it."""
    settings.SECOND_PERSON_ABOVE_MINOR = 99
    cancel_refused(saga)

    for typed in (0, 1):
        proposed = manage(decide("undone_by_hand", f"--amount-minor {typed} --evidence re_77"))
        assert "is proposed, with €1.00 at risk. A second person must ask for the same." in proposed.out
        assert state(saga) == SagaState.NEEDS_ATTENTION
    assert "is recorded" in manage(decide("undone_by_hand", "--amount-minor 1 --evidence re_77", actor="tunde")).out
    assert state(saga) == SagaState.COMPENSATED


# --- every verb's refusals -------------------------------------------------------------------------------------------------


def running(saga: int) -> None:
    """As it was opened."""


def refunded(saga: int) -> None:
    undo_failed(saga)
    recovery.decide(recovery.Request(order="ORD-1", verb="retry", version=version(), actor=AMARA, reason="r"))
    refund_goes_on(saga)


def stuck(saga: int) -> None:
    parked_forward(saga, shop_settings.POISON_AFTER)


REFUSALS: list[tuple[Callable[[int], None], str, str, str]] = [
    (running, "retry", "", "ORD-1 stands at “Running”: retry is not legal now. Legal: note."),
    (running, "retry_now", "", "retry_now is not legal now"),
    (running, "close", "--amount-minor 0", "close is not legal now"),
    (running, "assign", "--owner tunde", "assign is not legal now"),
    (running, "snooze", "--until 2030-01-01", "snooze is not legal now"),
    (running, "look_up", "", "look_up is not legal now"),
    (in_doubt, "it_happened", "", "it_happened needs evidence."),
    (in_doubt, "retry", "", "retry is not legal now. Legal: it_did_not, it_happened, look_up, note, retry_now."),
    (paid, "it_happened", "--evidence x", "it_happened is not legal now"),
    (paid, "it_did_not", "", "it_did_not is not legal now"),
    (stuck, "skip", "--evidence x", "ORD-1 stands at “Needs attention”: skip is not legal now"),
    (stuck, "undone_by_hand", "--evidence x --amount-minor 100", "undone_by_hand is not legal now"),
    (undo_failed, "start_undo", "", "start_undo is not legal now"),
    (undo_failed, "undone_by_hand", "--amount-minor 100", "undone_by_hand needs evidence."),
    (undo_failed, "undone_by_hand", "--evidence x", "undone_by_hand needs amount."),
    (undo_failed, "undone_by_hand", "", "undone_by_hand needs evidence and amount."),
    (undo_failed, "undone_by_hand", "--evidence x --amount-minor=-1", "An amount is not negative."),
    (undo_failed, "undone_by_hand", "--evidence x --amount-minor 101", "Only €1.00 (100 minor units) is still captured by payment"),
    (undo_failed, "undone_by_hand", "--evidence x --amount-minor 0", "name all of it, or close the order if a part stays."),
    (undo_failed, "close", "", "close needs amount."),
    (undo_failed, "close", "--amount-minor 99", "closing it writes off exactly that. Name this amount."),
    (undo_failed, "assign", "", "assign needs owner."),
    (undo_failed, "snooze", "", "snooze needs until."),
    (undo_failed, "retry", f"--evidence {'x' * 301}", "Evidence has more than 300 characters."),
    (undo_failed, "assign", f"--owner {'x' * 81}", "Owner has more than 80 characters."),
    (refunded, "retry", "", "ORD-1 stands at “Compensated”: retry is not legal now. Legal: note."),
    (refunded, "close", "--amount-minor 0", "close is not legal now"),
]


@pytest.mark.parametrize(("state_of", "verb", "more", "sentence"), REFUSALS, ids=[f"{s.__name__}-{v}-{m[:40]}" for s, v, m, _ in REFUSALS])
def test_what_may_not_be_decided_is_refused_in_a_sentence(
    saga: int, manage: Manage, state_of: Callable[[int], None], verb: str, more: str, sentence: str
) -> None:
    """Nothing is done, and I am told why and what I may do instead."""
    state_of(saga)
    before = journal(saga)

    refused = manage(decide(verb, more))

    assert (refused.code, refused.out) == (1, "")
    assert sentence in refused.err
    assert journal(saga) == before


def test_every_verb_has_a_refusal_here() -> None:
    assert {verb for _, verb, _, _ in REFUSALS} | {"note"} == set(recovery.VERBS)


def test_a_wrong_amount_for_a_step_without_money_is_refused(saga: int, manage: Manage) -> None:
    """The stock's undo failed: nobody gave money back by that."""
    paid(saga)
    engine.run_local(saga, 1, "inventory", undo=False)
    recovery.cancel("ORD-1", "amara")
    Saga.objects.filter(pk=saga).update(state=SagaState.NEEDS_ATTENTION, failure="cancelled", wake_at=None)
    StepRecord.objects.filter(saga=saga, name="shipping").update(state=StepState.NOT_NEEDED)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.UNDO_FAILED)

    assert "--amount-minor 0" in manage("why ORD-1").out
    assert (
        "Only €0.00 (0 minor units) is still captured by inventory"
        in manage(decide("undone_by_hand", "--evidence x --amount-minor 100")).err
    )


@pytest.mark.parametrize(
    "line",
    [
        "decide ORD-1 retry --reason r",
        "decide ORD-1 retry --version 1 --reason …",
        "decide ORD-1 retry --version 1 --reason r --actor amara",
        "decide ORD-1 retry --version one --reason r",
        "decide ORD-1 explode --version 1 --reason r",
        "decide ORD-1 snooze --version 1 --reason r --until tomorrow",
        "decide ORD-1 close --version 1 --reason r --amount-minor …",
        "why",
        "timeline",
        "incidents everything",
        "retry_orders",
        "retry_orders --all --kind stuck",
        "retry_orders --kind nonsense",
        "retry_orders --all --yes --reason r",
        "retry_orders --batch 1 --yes",
        "retry_orders --batch 1 --yes --reason …",
        "retry_orders --batch 1 --all",
        "retry_orders --all --rate 0",
        "retry_orders --all --rate fast",
        "retry_orders --all --rate 1e-12",
    ],
)
def test_wrong_usage_ends_with_2_and_does_nothing(saga: int, manage: Manage, line: str) -> None:
    undo_failed(saga)
    before = journal(saga)

    run = manage(line)

    assert (run.code, run.out) == (2, "")
    assert run.err
    assert journal(saga) == before


@pytest.mark.parametrize("typed", ["\x1b[2K", "\x1b]0;\x07", "\udcff", "\u202e"])
def test_what_one_operator_writes_does_not_steer_another_one_s_terminal(saga: int, manage: Manage, typed: str) -> None:
    """I agree to what I read; whoever proposes it cannot blot out a part of it."""
    undo_failed(saga)

    run = manage(f"decide ORD-1 close --version {version()} --amount-minor 100 --reason 'nothing{typed} of €1.00'")

    assert (run.code, "is proposed" in run.out) == (0, True), run.err
    shown = manage("timeline ORD-1").out + manage("why ORD-1").out + json.dumps(manage("why ORD-1 --json").json, ensure_ascii=False)
    assert "of €1.00" in shown
    assert not [letter for letter in shown if letter != "\n" and (has_control(letter) or category(letter) == "Cs")]


@pytest.mark.parametrize("line", ["why ORD-9", "timeline ORD-9", "decide ORD-9 retry --version 1 --reason r"])
def test_an_unknown_order_is_named(saga: int, manage: Manage, line: str) -> None:
    assert manage(line) == Run(1, "", "There is no order ORD-9.")


@pytest.mark.parametrize("name", ["why", "timeline", "incidents", "decide", "retry_orders", "doctor"])
def test_every_command_shows_an_example(manage: Manage, name: str) -> None:
    run = manage(f"{name} --help")

    assert run.code == 0
    assert f"Example: manage.py {name}" in re.sub(r"\s+", " ", run.out)
    assert "--json" in run.out


# --- what the verbs do -----------------------------------------------------------------------------------------------------


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
    launch = recovery.look(saga)
    assert launch is not None
    assert launch.steps == ("inventory", "shipping")


def test_it_did_not_happen_runs_it_again_under_the_same_key(saga: int, manage: Manage) -> None:
    in_doubt(saga)

    assert manage(decide("it_did_not")).code == 0

    launch = recovery.look(saga)
    assert launch is not None
    claim = engine.start(saga, launch.epoch, "payment", undo=False)
    assert claim is not None
    assert (claim.key, claim.tries) == ("ORD-1:payment:do:1:testsnonce", 1)


def test_what_waits_is_tried_now(saga: int, manage: Manage) -> None:
    in_doubt(saga)
    Saga.objects.filter(pk=saga).update(wake_at="2099-01-01T00:00Z")

    assert manage(decide("retry_now")).code == 0

    assert recovery.look(saga) is not None


def test_a_stuck_order_is_undone_when_a_person_says_so(saga: int, manage: Manage) -> None:
    stuck(saga)
    assert "launched 12 times without any progress" in manage("why ORD-1").out

    assert manage(decide("start_undo")).code == 0

    assert state(saga) == SagaState.COMPENSATING
    refund_goes_on(saga)
    assert state(saga) == SagaState.COMPENSATED


def test_an_incident_is_assigned_and_snoozed_until_its_hour(saga: int, manage: Manage) -> None:
    """Who takes care of it is shown; what is snoozed is out of the way, not lost."""
    undo_failed(saga)

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
    undo_failed(saga)

    why, history, waiting = manage("why ORD-1 --json").json, manage("timeline ORD-1 --json").json, manage("incidents --all --json").json
    done = manage(f"{decide('note')} --json").json

    assert why["version"] == history["version"] == history["entries"][-1]["id"]
    assert (why["blocked_on"], why["next_at"], why["runbook"]) == ("a person", None, "docs/runbooks/undo_exhausted.md")
    assert [choice["verb"] for choice in why["choices"]] == ["retry", "look_up", "undone_by_hand", "close", "assign", "snooze", "note"]
    assert why["incidents"][0]["amount_minor"] == 100
    assert waiting["groups"][0]["at_risk"] == {"EUR": 100}
    assert [incident["order"] for incident in waiting["incidents"]] == ["ORD-1"]
    assert (done["outcome"], done["version"]) == ("done", version())


def test_the_history_is_numbered_and_its_last_number_is_the_version(saga: int, manage: Manage) -> None:
    told = manage("timeline ORD-1").out.splitlines()

    assert [line.split()[0] for line in told[1:-1]] == [str(entry.pk) for entry in TimelineEntry.objects.order_by("id")]
    assert told[-1] == f"ORD-1 is at version {version()}."


# --- many orders at once -----------------------------------------------------------------------------------------------------


def place(number: str, total_minor: int = 100, currency: str = "EUR") -> int:
    client = User.objects.get(username="web-shop")
    columns: dict[str, Any] = {"customer_email": "a@example.com", "customer_name": "A", "shipping_address": {}, "payment_token": "tok_ok"}
    order = Order.objects.create(
        number=number, client=client, idempotency_key=number, total_minor=total_minor, currency=currency, correlation_id="c", **columns
    )
    return engine.open_saga(order).saga


@pytest.fixture
def many(saga: int) -> dict[str, int]:
    """Six whose refund was declined, one of them refunded since; one of another cause; one in yen."""
    sagas = {"ORD-1": saga} | {f"ORD-{number}": place(f"ORD-{number}") for number in range(2, 6)}
    sagas |= {"ORD-6": place("ORD-6", 30_000), "ORD-7": place("ORD-7", 500, "JPY")}
    for number, one in sagas.items():
        undo_failed(one, *([TOO_LATE] if number == "ORD-6" else []))
    recovery.decide(recovery.Request(order="ORD-5", verb="retry", version=_version("ORD-5"), actor=AMARA, reason="r"))
    refund_goes_on(sagas["ORD-5"])
    order = Order.objects.get(number="ORD-5")
    open_incident(
        IncidentKind.UNDO_EXHAUSTED,
        subject="ORD-5",
        currency="EUR",
        order_id=order.pk,
        step="payment",
        code="refund_declined",
        amount_minor=1,
    )
    return sagas


def _version(number: str) -> int:
    return recovery.version_of(Order.objects.get(number=number).pk)


def test_incidents_are_grouped_by_cause_most_money_first(many: dict[str, int], manage: Manage) -> None:
    lines = [line for line in manage("incidents").out.splitlines() if not line.startswith(" ")]

    assert lines[0].startswith("undo_exhausted · payment · too_late · 1 order · €300.00 at risk · first ")
    assert lines[1].startswith("undo_exhausted · payment · refund_declined · 6 orders · €4.01 + JP¥500 at risk · first ")
    assert lines[2] == "7 orders in 2 groups, €304.01 + JP¥500 at risk."


def test_an_order_with_two_incidents_is_one_order_and_what_a_provider_holds_is_not_retried(many: dict[str, int], manage: Manage) -> None:
    order = Order.objects.get(number="ORD-1")
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject=order.number, currency="EUR", order_id=order.pk, amount_minor=1)

    lines = manage("incidents").out.splitlines()

    assert lines[-1] == "7 orders in 3 groups, €304.02 + JP¥500 at risk."
    assert [line for line in lines if "retry_orders" in line and "orphan_payment" in line] == []
    assert len([line for line in lines if "retry_orders" in line]) == 2


FIVE = ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-7"]


@pytest.fixture
def amara(sign_in: SignIn) -> operators.Actor:
    """A user of the database: who confirms must still be one when the sweep works."""
    return operators.of_user(sign_in("amara"))


def confirmed(by: operators.Actor, rate_per_s: float = 50) -> RetryBatch:
    return bulk.confirm(bulk.preview(code="refund_declined").pk, by, "the bank is back", rate_per_s)


def work_off(batch: RetryBatch) -> None:
    while not RetryBatch.objects.filter(pk=batch.pk, ended_at__isnull=False).exists():
        RetryBatch.objects.update(next_at="2020-01-01T00:00Z")
        bulk.work()


def decided(batch: RetryBatch) -> list[tuple[str, str]]:
    return list(batch.items.exclude(outcome="").order_by("id").values_list("order", "outcome"))


def retries() -> int:
    return TimelineEntry.objects.filter(kind="operator", code="retry").exclude(order__number="ORD-5").count()


def fails_again(saga: int) -> None:
    launch = recovery.look(saga)
    assert launch is not None
    claim = engine.start(saga, launch.epoch, "payment", undo=True)
    assert claim is not None
    engine.settle_failure(claim, TOO_LATE)


# --- many: the set ----------------------------------------------------------------------------------------------------------------


def test_a_preview_counts_with_amounts_is_stored_and_does_nothing(many: dict[str, int], manage: Manage) -> None:
    """I see how many would be retried, for how much money, how many not and why; and the line that does just this."""
    before = TimelineEntry.objects.count()

    preview = manage("retry_orders --kind undo_exhausted --step payment --code refund_declined")

    batch = RetryBatch.objects.get()
    assert preview.code == 0
    assert preview.out.splitlines() == [
        "6 selected: 5 will be retried (€4.00 + JP¥500 at risk), 1 skipped (1 compensated).",
        "Nothing was done. To do it to just these, as they are now:",
        f'    python manage.py retry_orders --batch {batch.pk} --yes --reason "…"',
    ]
    assert list(batch.items.filter(skip="").values_list("order", "version", "amount_minor", "currency")) == [
        (number, _version(number), 500 if number == "ORD-7" else 100, "JPY" if number == "ORD-7" else "EUR") for number in FIVE
    ]
    assert bulk.work() == 0
    assert TimelineEntry.objects.count() == before
    assert "Nobody has confirmed it: nothing was done." in manage(f"retry_orders --batch {batch.pk}").out
    as_json = manage("retry_orders --code too_late --json").json
    assert [(order["order"], order["skip"]) for order in as_json["orders"]] == [("ORD-6", "")]
    assert manage("retry_orders --step shipping").out.startswith("0 selected: 0 will be retried, 0 skipped.")


def test_exactly_what_was_previewed_is_touched(many: dict[str, int], amara: operators.Actor) -> None:
    """One that has failed since I looked waits for a look of its own; one that somebody has touched since is not touched by me."""
    batch = bulk.preview(code="refund_declined")
    undo_failed(place("ORD-8"))
    recovery.decide(recovery.Request(order="ORD-2", verb="note", version=_version("ORD-2"), actor=TUNDE, reason="not this one"))

    work_off(bulk.confirm(batch.pk, amara, "the bank is back", 50))

    assert decided(batch) == [(number, "refused" if number == "ORD-2" else "done") for number in FIVE]
    assert (Saga.objects.get(order__number="ORD-8").state, retries()) == (SagaState.NEEDS_ATTENTION, 4)
    assert "has changed while you were looking" in batch.items.get(order="ORD-2").sentence


def test_what_is_no_order_of_ours_is_skipped_by_name(saga: int, manage: Manage) -> None:
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject="ORD-77", currency="EUR", amount_minor=500)

    assert manage("retry_orders --kind orphan_payment").out.startswith("1 selected: 0 will be retried, 1 skipped (1 no order of ours).")


# --- many: who, and how often --------------------------------------------------------------------------------------------------------


def test_only_who_may_retry_confirms_and_twice_is_once(many: dict[str, int], amara: operators.Actor) -> None:
    batch = bulk.preview(code="refund_declined")
    with pytest.raises(Refused, match="decide_retry is missing"):
        bulk.confirm(batch.pk, actor(7, "kim", frozenset()), "r", 20)
    with pytest.raises(Refused, match="There is no batch 999999"):
        bulk.confirm(999_999, AMARA, "r", 20)
    assert bulk.work() == 0
    assert RefusedAttempt.objects.count() == 2

    work_off(bulk.confirm(batch.pk, amara, "the bank is back", 20))
    again = bulk.confirm(batch.pk, TUNDE, "me too", 50)

    assert (again.actor, again.reason, bulk.work(), retries()) == ("amara", "the bank is back", 0, 5)
    entry = TimelineEntry.objects.get(kind="operator", code="retry", order__number="ORD-3")
    assert (entry.actor, entry.detail["user"], entry.detail["reason"]) == ("amara", amara.user, "the bank is back")


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": False}], ids=["left", "lost the permission"])
def test_who_may_not_any_more_retries_nothing(many: dict[str, int], amara: operators.Actor, change: dict[str, bool]) -> None:
    """A batch that was confirmed by somebody who was sent away half-way ends there."""
    batch = confirmed(amara, rate_per_s=2)
    bulk.work()
    User.objects.filter(pk=amara.user).update(**change)

    work_off(batch)

    assert [outcome for _, outcome in decided(batch)] == ["done", "done", "refused", "refused", "refused"]
    assert retries() == 2


# --- many: its rate, and what may happen to it -----------------------------------------------------------------------------------------


def test_no_more_than_the_rate_are_decided_in_a_second(many: dict[str, int], amara: operators.Actor) -> None:
    """And never more than the sweep can carry, whatever is asked for."""
    batch = confirmed(amara, rate_per_s=2)

    assert (bulk.work(), bulk.work()) == (2, 0)
    batch.refresh_from_db()
    assert batch.next_at is not None
    RetryBatch.objects.update(next_at=F("next_at") - (batch.next_at - shop_now()))
    assert (bulk.work(), bulk.work()) == (2, 0)
    assert confirmed(amara, rate_per_s=1000).rate_per_s == bulk.FASTEST_PER_S


def test_slower_than_one_a_second_is_kept_too(many: dict[str, int], amara: operators.Actor) -> None:
    batch = confirmed(amara, rate_per_s=0.1)

    assert (bulk.work(), bulk.work()) == (1, 0)
    batch.refresh_from_db()
    assert 9 < (batch.next_at - shop_now()).total_seconds() <= 10  # type: ignore[operator]


def test_who_was_never_charged_was_not_refunded(order: Order, saga: int, amara: operators.Actor) -> None:
    """€1.00 was at risk because nobody knew; the provider knew of nothing, and nothing was given back."""
    in_doubt(saga)
    recovery.cancel(order.number, "web-shop")
    Saga.objects.update(wake_at="2020-01-01T00:00Z", launched_at=None)
    assert recovery.look(saga) is not None
    engine.settle_failure(start(saga, undo=True), TOO_LATE)
    batch = bulk.confirm(bulk.preview(code="too_late").pk, amara, "the bank is back", 50)
    work_off(batch)
    assert batch.items.get().amount_minor == 100

    assert recovery.look(saga) is not None
    engine.settle_success(start(saga, undo=True), {"amount_minor": 0})

    assert bulk.outcomes(batch) == {"ORD-1": "undone"}


def test_killed_half_way_it_goes_on_by_itself_and_does_nothing_twice(
    many: dict[str, int],
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sweep dies after a decision, before it has noted it here: the next one finds that it was done."""
    batch = confirmed(amara)
    really = recovery.decide

    def dies(request: recovery.Request) -> recovery.Answer:
        answer = really(request)
        if request.order == "ORD-3":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("fulfillment.recovery.bulk.decide", dies)
    with pytest.raises(KeyboardInterrupt):
        bulk.work()
    monkeypatch.setattr("fulfillment.recovery.bulk.decide", really)

    work_off(batch)

    assert decided(batch) == [(number, "repeated" if number == "ORD-3" else "done") for number in FIVE]
    assert retries() == 5


def test_the_sweep_works_it_off_beside_everything_else(
    many: dict[str, int], amara: operators.Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to keep a terminal open."""
    batch = confirmed(amara)
    monkeypatch.setattr("config.management.commands.sweep.tasks.launch", lambda launch: True)
    monkeypatch.setattr("config.management.commands.sweep.tasks.send_probe", lambda queue, stamp: True)
    monkeypatch.setattr(Sweep, "_reconcile", lambda self: 0)

    Sweep(lambda line: None).round()

    assert [outcome for _, outcome in decided(batch)] == ["done"] * 5


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("a bug"), "failed"), (OperationalError("held"), "")])
def test_one_that_breaks_or_is_held_does_not_stop_the_others(
    many: dict[str, int],
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    outcome: str,
) -> None:
    """One that is held ends the round, and is tried again after the others."""
    batch = confirmed(amara)
    really = recovery.decide

    def breaks(request: recovery.Request) -> recovery.Answer:
        if request.order == "ORD-2":
            raise error
        return really(request)

    monkeypatch.setattr("fulfillment.recovery.bulk.decide", breaks)
    monkeypatch.setattr(bulk, "is_our_trouble", lambda error: isinstance(error, OperationalError))
    monkeypatch.setattr(bulk, "is_unusable", lambda error: False)
    for _ in range(3):
        RetryBatch.objects.update(next_at="2020-01-01T00:00Z")
        bulk.work()

    assert dict(batch.items.filter(skip="").values_list("order", "outcome")) == dict.fromkeys(FIVE, "done") | {"ORD-2": outcome}
    batch.refresh_from_db()
    assert (batch.ended_at is None) == (outcome == "")


# --- many: what became of them ---------------------------------------------------------------------------------------------------------


def test_what_became_of_each_order_is_told(many: dict[str, int], manage: Manage, amara: operators.Actor) -> None:
    """ "Decided" is not "refunded": I see both, and which ones failed again."""
    batch = bulk.preview(code="refund_declined")
    assert bulk.counted(bulk.outcomes(batch)) == "5 waiting"
    told = manage(f"retry_orders --batch {batch.pk} --yes --reason 'the bank is back'")
    assert told.code == 0
    assert "Confirmed by amara (the bank is back), 20 a second at most: 5 waiting." in told.out
    assert "No sweep runs, and only the sweep goes on with it: manage.py doctor." in told.out

    work_off(batch)
    assert bulk.counted(bulk.outcomes(batch)) == "5 waiting"
    for number in ("ORD-1", "ORD-3"):
        refund_goes_on(many[number])
    assert bulk.counted(bulk.outcomes(batch)) == "2 refunded, 3 waiting"
    fails_again(many["ORD-2"])
    for number in ("ORD-4", "ORD-7"):
        refund_goes_on(many[number])

    shown = manage(f"retry_orders --batch {batch.pk}")
    assert shown.code == 0
    assert "4 refunded, 1 failed again, 0 waiting." in shown.out
    assert "ORD-2: failed again." in shown.out
    followed = manage(f"retry_orders --batch {batch.pk} --follow --json")
    assert followed.code == 1
    assert followed.json["counted"] == "4 refunded, 1 failed again, 0 waiting"
    assert {one["order"]: one["became"] for one in followed.json["orders"] if not one["skip"]}["ORD-2"] == "failed again"


def test_following_tells_each_change_and_ends_when_none_waits(
    many: dict[str, int],
    manage: Manage,
    amara: operators.Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = confirmed(amara)
    work_off(batch)
    left = [*FIVE]
    monkeypatch.setattr("fulfillment.management.commands.retry_orders.time.sleep", lambda seconds: refund_goes_on(many[left.pop()]))

    followed = manage(f"retry_orders --batch {batch.pk} --follow")

    assert (followed.code, followed.err.splitlines()[:2]) == (0, ["5 waiting", "1 refunded, 4 waiting"])
    assert "5 refunded, 0 waiting." in followed.out
