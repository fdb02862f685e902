"""Promise: of each decision that a person may take, after each way in which a step or a compensation can end, it is written down what it changes, and nothing else
changes: budgets, deadlines, doubt, keys, ledger, stock, and where the order goes on.
"""

import zlib
from base64 import b32encode
from datetime import timedelta
from typing import Any

import pytest

from fulfillment import engine, keys, recovery, steps
from fulfillment.clock import shop_now
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, StockLevel
from fulfillment.recovery import Request, decide, version_of
from fulfillment.step import Kind, Receipt, Step
from orders.incidents import Incident
from orders.models import Order
from tests.actors import AMARA, BELA
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.decisions.changes import CHANGES, LATER_S
from tests.fulfillment.decisions.endings import ENDS, survey_fails
from tests.fulfillment.driving import found
from tests.shop_clock import ShopClock

GIVEN = {"evidence": "the bank's page", "owner": "bela"}


@pytest.fixture(autouse=True)
def provider(sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SandboxProcess:
    """Each test has keys of its own there."""
    settings.SANDBOX_URL, settings.SECOND_PERSON_ABOVE_MINOR = sandbox.url, 100
    settings.STEP_TRIES = settings.COMPENSATION_TRIES = 3
    nonce = b32encode(zlib.crc32(request.node.name.encode()).to_bytes(5)).decode().lower()
    monkeypatch.setattr(keys, "new_nonce", lambda: nonce)
    return sandbox


class Survey(Step):
    """A step after the pivot that an order can do without."""

    name, kind, skippable = "survey", Kind.RETRIABLE, True

    def resolve(self, order: Order, key: str) -> Receipt | None:
        return None


@pytest.fixture
def saga(order: Order, end: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Opened with a step more, where that is the one that fails."""
    if ENDS[end] is survey_fails:
        monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, Survey()))
        monkeypatch.setattr(engine.creation, "STEPS", steps.STEPS)
    return engine.open_saga(order).saga


def stored(saga_id: int, clock: ShopClock) -> dict[str, Any]:
    """All that a decision may change, instants in seconds from now."""
    saga = Saga.objects.select_related("order").get(pk=saga_id)
    at: dict[str, Any] = {
        "saga": saga.state,
        "turned": saga.failure,
        "order": saga.order.status,
        "epoch": saga.epoch,
        "inspected in": clock.left(saga.wake_at),
        "deadline in": clock.left(saga.deadline_at),
        "paused": saga.paused_s,
        "held by": saga.held_by,
        "incidents": Incident.objects.exclude(state="resolved").filter(order_id=saga.order_id).count(),
        "stock": StockLevel.objects.values_list("on_hand", "reserved").get(),
        "ledger": [(entry.operation, entry.amount_minor) for entry in LedgerEntry.objects.filter(order_id=saga.order_id)],
    }
    for one in saga.records.all():
        at |= {
            one.name: one.state,
            f"{one.name}, tries": (one.tries, one.compensation_tries, one.waits),
            f"{one.name}, doubt": (one.doubt, one.compensation_doubt),
            f"{one.name}, compensation": (
                _attempt(one.compensation_key),
                one.compensation_amount_minor,
                clock.left(one.compensation_scheduled_at),
            ),
            f"{one.name}, first start": clock.left(one.first_started_at),
            f"{one.name}, knows": sorted(one.receipt or {}),
        }
    return at


def _attempt(key: str) -> str:
    return ":".join(key.split(":")[2:4])


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if value != before[name]}


def decided(saga: int, verb: str, legal: dict[str, recovery.Choice]) -> None:
    order = found(saga).order
    given: dict[str, Any] = {name: GIVEN[name] for name in legal[verb].needs if name in GIVEN}
    if "amount" in legal[verb].needs:
        amount = legal[verb].amount_minor
        given["amount_minor"] = order.total_minor if amount is None else amount
    if "until" in legal[verb].needs:
        given["until"] = shop_now() + timedelta(hours=1)
    for actor in (AMARA, BELA):
        answer = decide(Request(order=order.number, verb=verb, version=version_of(order.pk), actor=actor, reason="seen", **given))
        if answer.outcome == "done":
            return
    raise AssertionError(answer.sentence)


def happened(saga: int, end: str, clock: ShopClock) -> dict[str, recovery.Choice]:
    """It has ended so, and some time has passed. What is legal now."""
    ENDS[end](saga)
    clock.passes(LATER_S)
    is_open = Incident.objects.exclude(state="resolved").filter(order_id=found(saga).order_id).exists()
    return {choice.verb: choice for choice in recovery.choices(found(saga), is_open)}


MOVES_NOTHING = ("assign", "snooze", "note")


@pytest.mark.parametrize("end", ENDS)
def test_these_decisions_are_legal_then(clock: ShopClock, saga: int, end: str) -> None:
    legal = happened(saga, end, clock)

    assert set(legal) - set(MOVES_NOTHING) == set(CHANGES[end])
    assert ("assign" in legal) == bool(stored(saga, clock)["incidents"])


@pytest.mark.parametrize(("end", "verb"), [(end, verb) for end, verbs in CHANGES.items() for verb in verbs])
def test_a_decision_changes_this_and_nothing_else(clock: ShopClock, saga: int, end: str, verb: str) -> None:
    legal = happened(saga, end, clock)
    before = stored(saga, clock)

    decided(saga, verb, legal)

    assert changed(before, stored(saga, clock)) == CHANGES[end][verb]


@pytest.mark.parametrize("end", ENDS)
def test_whoever_only_writes_something_down_changes_nothing(clock: ShopClock, saga: int, end: str) -> None:
    legal = happened(saga, end, clock)
    before = stored(saga, clock)

    for verb in MOVES_NOTHING:
        if verb in legal:
            decided(saga, verb, legal)

    assert changed(before, stored(saga, clock)) == {}
