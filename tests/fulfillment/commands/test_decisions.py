"""Promise: an operator with a terminal sees why an order waits, decides with a pasted line, and finds the decision in its history; nothing happens twice."""

import re
from typing import Any

import pytest
from django.conf import settings as shop_settings

from fulfillment import ledger
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from tests.fulfillment.commands.conftest import Manage, decide, journal, state
from tests.fulfillment.driving import cancel_refused, compensation_failed, refund_goes_on


def pasted(line: str, **given: str) -> str:
    """A line of ``why``, with what only the person knows typed into its gaps."""
    line = line.strip().removeprefix("python manage.py ")
    for option, value in given.items():
        line = line.replace(f'--{option} "…"', f'--{option} "{value}"').replace(f"--{option} …", f"--{option} {value}")
    assert "…" not in line
    return line


def test_a_failed_refund_is_followed_to_its_end_with_the_commands_alone(saga: int, manage: Manage) -> None:
    """I see what waits, why, and what I may do; I paste a line; my decision is in the history."""
    compensation_failed(saga)

    assert "compensation_exhausted · payment · refund_declined · 1 order · €1.00 at risk" in manage("incidents").out
    why = manage("why ORD-1")
    assert why.code == 0
    assert "The order was being undone (inventory failed: MUG is out of stock)." in why.out
    assert (
        "(The provider refuses the refund). €1.00 at risk. €1.00 is still captured. Nothing is running. Someone has to decide." in why.out
    )
    assert "blocked on  a person" in why.out
    assert "runbook docs/runbooks/compensation_exhausted.md" in why.out
    (line,) = [line for line in why.out.splitlines() if "decide ORD-1 undone_by_hand" in line]
    done = manage(pasted(line, reason="refunded in the bank's portal", evidence="re_77"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("ORD-1: undone by hand is recorded. The provider did not answer (")
    assert done.out.endswith("). The sweep goes on from there within a second.\n")

    history = manage("timeline ORD-1").out
    assert "amara: undone by hand (payment), amount €1.00, evidence re_77, answer the provider did not answer (" in history
    assert "): refunded in the bank's portal" in history
    assert "Incident resolved by amara: refunded in the bank's portal" in history
    assert state(saga) == SagaState.COMPENSATED
    assert "Undone in this order: payment." in manage("why ORD-1").out
    assert manage("incidents").out == "Nothing waits for a person.\n"


def test_a_retry_gives_a_refund_that_was_refused_a_fresh_budget_under_a_new_key(saga: int, manage: Manage) -> None:
    compensation_failed(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(compensation_tries=shop_settings.COMPENSATION_TRIES)

    assert manage(decide("retry")).code == 0

    record = StepRecord.objects.get(saga=saga, name="payment")
    assert (record.state, record.compensation_tries, record.compensation_key) == (
        StepState.COMPENSATION_SCHEDULED,
        0,
        "ORD-1:payment:compensate:2:testsnonce",
    )
    refund_goes_on(saga)
    assert (state(saga), ledger.remaining(Saga.objects.get(pk=saga).order_id)) == (SagaState.COMPENSATED, 0)


@pytest.mark.parametrize("verb", ["retry", "undone_by_hand", "note", "assign"])
def test_the_same_line_pasted_twice_is_done_once(saga: int, manage: Manage, verb: str) -> None:
    """I press twice; the answer says that it was done already."""
    compensation_failed(saga)
    line = decide(verb, "--evidence re_77 --amount-minor 100 --owner tunde")
    assert manage(line).code == 0
    before = journal(saga)

    again = manage(line)

    assert (again.code, again.out) == (0, f"ORD-1: {verb.replace('_', ' ')} was done already. Nothing was done twice.\n")
    assert journal(saga) == before


def test_a_decision_about_an_order_that_has_moved_on_is_refused(saga: int, manage: Manage) -> None:
    """I looked, somebody else decided, I decide: nothing is done, and I am told what the order is now."""
    compensation_failed(saga)
    stale = decide("retry")
    manage(decide("note", actor="tunde"))
    before = journal(saga)

    refused = manage(stale)

    assert (refused.code, refused.out) == (1, "")
    assert "ORD-1 has changed while you were looking (it is now: Needs attention" in refused.err
    assert "Nothing was done." in refused.err
    assert journal(saga) == before


@pytest.mark.parametrize(("verb", "limit"), [("undone_by_hand", 50), ("close", 50_000)], ids=["above the limit", "money written off"])
def test_money_by_the_word_of_a_person_needs_two(saga: int, manage: Manage, settings: Any, verb: str, limit: int) -> None:
    """The first one proposes, and cannot agree with himself; the second one does it."""
    settings.SECOND_PERSON_ABOVE_MINOR = limit
    compensation_failed(saga)
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
    compensation_failed(saga)

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
