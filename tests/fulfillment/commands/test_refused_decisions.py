"""Promise: what may not be decided is refused in a sentence, and whoever uses a command wrongly is shown how it is used."""

import json
import re
from collections.abc import Callable
from unicodedata import category

import pytest

from fulfillment import engine, recovery
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.text import has_control
from tests.actors import AMARA
from tests.fulfillment.commands.conftest import Manage, Run, decide, journal, stuck, version
from tests.fulfillment.driving import compensation_failed, in_doubt, paid, refund_goes_on


def running(saga: int) -> None:
    """As it was opened."""


def refunded(saga: int) -> None:
    compensation_failed(saga)
    recovery.decide(recovery.Request(order="ORD-1", verb="retry", version=version(), actor=AMARA, reason="r"))
    refund_goes_on(saga)


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
    (compensation_failed, "start_undo", "", "start_undo is not legal now"),
    (compensation_failed, "undone_by_hand", "--amount-minor 100", "undone_by_hand needs evidence."),
    (compensation_failed, "undone_by_hand", "--evidence x", "undone_by_hand needs amount."),
    (compensation_failed, "undone_by_hand", "", "undone_by_hand needs evidence and amount."),
    (compensation_failed, "undone_by_hand", "--evidence x --amount-minor=-1", "An amount is not negative."),
    (compensation_failed, "undone_by_hand", "--evidence x --amount-minor 101", "Only €1.00 (100 minor units) is still captured by payment"),
    (compensation_failed, "undone_by_hand", "--evidence x --amount-minor 0", "name all of it, or close the order if a part stays."),
    (compensation_failed, "close", "", "close needs amount."),
    (compensation_failed, "close", "--amount-minor 99", "closing it writes off exactly that. Name this amount."),
    (compensation_failed, "assign", "", "assign needs owner."),
    (compensation_failed, "snooze", "", "snooze needs until."),
    (compensation_failed, "retry", f"--evidence {'x' * 301}", "Evidence has more than 300 characters."),
    (compensation_failed, "assign", f"--owner {'x' * 81}", "Owner has more than 80 characters."),
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
    """The stock's compensation failed: nobody gave money back by that."""
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    recovery.cancel("ORD-1", "amara")
    Saga.objects.filter(pk=saga).update(state=SagaState.NEEDS_ATTENTION, failure="cancelled", wake_at=None)
    StepRecord.objects.filter(saga=saga, name="shipping").update(state=StepState.NOT_NEEDED)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.COMPENSATION_FAILED)

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
    compensation_failed(saga)
    before = journal(saga)

    run = manage(line)

    assert (run.code, run.out) == (2, "")
    assert run.err
    assert journal(saga) == before


@pytest.mark.parametrize("typed", ["\x1b[2K", "\x1b]0;\x07", "\udcff", "\u202e"])
def test_what_one_operator_writes_does_not_steer_the_terminal_of_another(saga: int, manage: Manage, typed: str) -> None:
    """I agree to what I read; whoever proposes it cannot blot out a part of it."""
    compensation_failed(saga)

    run = manage(f"decide ORD-1 close --version {version()} --amount-minor 100 --reason 'nothing{typed} of €1.00'")

    assert (run.code, "is proposed" in run.out) == (0, True), run.err
    shown = manage("timeline ORD-1").out + manage("why ORD-1").out + json.dumps(manage("why ORD-1 --json").json, ensure_ascii=False)
    assert "of €1.00" in shown
    assert not [letter for letter in shown if letter != "\n" and (has_control(letter) or category(letter) == "Cs")]


OF_AN_ORDER = ["why {}", "timeline {}", "decide {} retry --version 1 --reason r", "deliveries --order {}", "replay --order {}"]


@pytest.mark.parametrize("typed", ["ORD-9", "9"])
@pytest.mark.parametrize("line", OF_AN_ORDER)
def test_an_unknown_order_is_named(saga: int, manage: Manage, line: str, typed: str) -> None:
    assert manage(line.format(typed)) == Run(1, "", "There is no order ORD-9.")


@pytest.mark.parametrize("line", OF_AN_ORDER)
def test_whoever_types_no_number_is_shown_what_one_looks_like(saga: int, manage: Manage, line: str) -> None:
    assert manage(line.format("ord-1")) == Run(1, "", "There is no order ord-1. A number looks like ORD-1043.")


def test_the_digits_of_a_number_are_enough(saga: int, manage: Manage) -> None:
    """I read 1043 out on the phone, and whoever types it finds my order."""
    assert manage("why 1").out == manage("why ORD-1").out != ""


@pytest.mark.parametrize("name", ["why", "timeline", "incidents", "decide", "retry_orders", "doctor"])
def test_every_command_shows_an_example(manage: Manage, name: str) -> None:
    run = manage(f"{name} --help")

    assert run.code == 0
    assert f"Example: manage.py {name}" in re.sub(r"\s+", " ", run.out)
    assert "--json" in run.out
