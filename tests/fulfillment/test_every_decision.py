"""Promise: of each decision that a person may take, after each way in which a step or an undo can end, it is written down what it changes, and nothing else changes:
budgets, deadlines, doubt, keys, ledger, stock, and where the order goes on.
"""

import zlib
from base64 import b32encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, keys, recovery, steps
from fulfillment.answers import OTHER_CURRENCY, PARTLY_GIVEN_BACK
from fulfillment.clock import lease_s, shop_now
from fulfillment.errors import WATCHED_IN_VAIN, Differs, InDoubt, Rejected, StepError, Unavailable
from fulfillment.gateways.lease import Lease
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, StockLevel
from fulfillment.recovery import Request, decide, version_of
from fulfillment.step import Kind, Receipt, Step
from fulfillment.steps import known
from fulfillment.talk import talk
from orders.attention import Incident
from orders.models import Order
from tests.actors import AMARA, BELA
from tests.fulfillment.conftest import SandboxProcess, now_due
from tests.fulfillment.driving import copy_of, found, paid, parked_forward, refused, start
from tests.shop_clock import LIMITS_S, ShopClock

DOWN = Unavailable("The provider is down.", code="down")
SILENCE = InDoubt("No answer.")
REFUSED = Rejected("The provider refuses.", code="refused")
IN_RUPIAHS = Differs("It was done in another currency.", OTHER_CURRENCY)
OF_40 = Differs("€0.40 of €1.00 was given back.", PARTLY_GIVEN_BACK, 40, {"charge_id": "ch_1", "amount_minor": 100})
LATER_S = 100.0
GIVEN = {"evidence": "the bank's page", "owner": "bela"}


@pytest.fixture(autouse=True)
def provider(sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SandboxProcess:
    """Each test has keys of its own there."""
    settings.SANDBOX_URL, settings.SECOND_PERSON_ABOVE_MINOR = sandbox.url, 100
    settings.STEP_TRIES = settings.UNDO_TRIES = 3
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
        monkeypatch.setattr(engine.opening, "STEPS", steps.STEPS)
    return engine.open_saga(order).saga


# --- how a step or an undo can end ------------------------------------------------------------------------------------------


def fails(error: StepError, name: str = "payment", undo: bool = False) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        engine.settle_failure(start(saga, name, undo), error)

    return happens


def charged_without_an_answer(saga: int) -> None:
    claim, payment = start(saga), known("payment")
    assert payment is not None
    assert isinstance(talk(payment, claim, Lease.begin(lease_s())), dict)
    engine.settle_failure(claim, SILENCE)


def lost_again_and_again(saga: int) -> None:
    parked_forward(saga, settings.POISON_AFTER)


def booking_fails(error: StepError) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        paid(saga)
        engine.run_local(saga, 1, "inventory", undo=False)
        fails(error, "shipping")(saga)

    return happens


def refund_fails(error: StepError) -> Callable[[int], None]:
    def happens(saga: int) -> None:
        refused(saga)
        fails(error, undo=True)(saga)

    return happens


def out_of_tries(saga: int, tries: int, name: str, undo: bool) -> None:
    for _ in range(tries):
        fails(DOWN, name, undo)(saga)
        now_due(saga)
        recovery.look(saga)


def refund_is_out_of_tries(saga: int) -> None:
    refused(saga)
    out_of_tries(saga, settings.UNDO_TRIES, "payment", undo=True)


def survey_fails(saga: int) -> None:
    """The parcel is on its way, and this step is all that is left to do."""
    fulfilled(saga)
    out_of_tries(saga, settings.STEP_TRIES, "survey", undo=False)


def money_remains(saga: int) -> None:
    refused(saga)
    engine.settle_success(start(saga, undo=True), None)


def watched_in_vain(saga: int) -> None:
    fails(SILENCE)(saga)
    recovery.cancel(found(saga).order.number, "web-shop")
    now_due(saga)
    recovery.look(saga)
    fails(Rejected("Nothing was found.", code=WATCHED_IN_VAIN), undo=True)(saga)


def held(saga: int) -> None:
    """The bank does not answer others either: three orders have failed, this one among them."""
    for number in ("ORD-2", "ORD-3"):
        fails(DOWN)(copy_of(found(saga).order, number))
    fails(DOWN)(saga)


def fulfilled(saga: int) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", undo=False)
    engine.settle_success(start(saga, "shipping"), {"label_id": "lb_1", "tracking": "TRK1"})


def compensated(saga: int) -> None:
    fails(REFUSED)(saga)
    assert engine.chain_stopped(saga, 1) is None


ENDS: dict[str, Callable[[int], None]] = {
    "a charge is unavailable": fails(DOWN),
    "a charge is in doubt": charged_without_an_answer,
    "a charge in another currency": fails(IN_RUPIAHS),
    "a message is lost again and again": lost_again_and_again,
    "a booking is in doubt": booking_fails(SILENCE),
    "an open circuit": held,
    "a refund is unavailable": refund_fails(DOWN),
    "a refund is in doubt": refund_fails(SILENCE),
    "a refund is refused": refund_fails(REFUSED),
    "a refund in another currency": refund_fails(IN_RUPIAHS),
    "a refund of a part": refund_fails(OF_40),
    "a refund that gave nothing back": money_remains,
    "an undo that watched in vain": watched_in_vain,
    "an undo that is out of tries": refund_is_out_of_tries,
    "a step after the pivot that is out of tries": survey_fails,
    "fulfilled": fulfilled,
    "compensated": compensated,
}

# --- what each decision changes then ----------------------------------------------------------------------------------------

# Whoever goes on has a fresh deadline, and is due now. Epochs fence: a decision raises them by one, and turning back by one more.
NOW = {"looks in": 0.0}
GOES_ON = {"looks in": 0.0, "deadline in": LIMITS_S["SAGA_DEADLINE_S"]}

# Of an undo that has failed for good. Refused, it is asked for again under the next key, after a look at what is left.
ASKED_AGAIN = GOES_ON | {
    "saga": "compensating",
    "epoch": 4,
    "incidents": 0,
    "payment": "undo_granted",
    "payment, tries": (1, 0, 0),
    "payment, undo": ("undo:1", 100, 0.0),
}
BY_HAND = {
    "saga": "compensated",
    "order": "inventory_failed",
    "epoch": 4,
    "deadline in": LIMITS_S["SAGA_DEADLINE_S"],
    "incidents": 0,
    "ledger": [("captured", 100), ("refunded", 100)],
    "payment": "undone_by_hand",
}
CLOSED = {
    "saga": "closed_by_operator",
    "order": "inventory_failed",
    "epoch": 4,
    "incidents": 0,
    "ledger": [("captured", 100), ("written_off", 100)],
}

THIRD_TRY = {"epoch": 6, "paused": 0.0}  # two retries have raised the epoch before, and the time in which nobody looked was given back

CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "a charge is unavailable": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a charge is in doubt": {
        "retry_now": NOW,
        "look_up": {},
        "it_happened": GOES_ON
        | {
            "epoch": 2,
            "ledger": [("captured", 100)],
            "payment": "done_by_hand",
            "payment, knows": ["amount_minor", "charge_id", "currency"],
            "inventory": "granted",
        },
        "it_did_not": GOES_ON | {"epoch": 2, "payment": "granted", "payment, tries": (0, 0, 0), "payment, first start": None},
    },
    "a charge in another currency": {
        "retry": GOES_ON
        | {"saga": "running", "epoch": 3, "incidents": 0, "payment": "granted", "payment, tries": (0, 0, 0), "payment, first start": None},
        "look_up": {},
        "it_happened": GOES_ON | {"saga": "running", "epoch": 3, "incidents": 0, "payment": "done_by_hand", "inventory": "granted"},
        "it_did_not": GOES_ON
        | {"saga": "running", "epoch": 3, "incidents": 0, "payment": "granted", "payment, tries": (0, 0, 0), "payment, first start": None},
        "start_undo": {
            "saga": "compensating",
            "turned": "payment_failed",
            "order": "compensating",
            "epoch": 3,
            "looks in": 0.0,
            "incidents": 0,
            "payment": "undo_granted",
            "payment, undo": ("undo:1", None, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a message is lost again and again": {
        "retry": GOES_ON | {"saga": "running", "epoch": 3, "paused": 0.0, "incidents": 0},
        "start_undo": {
            "saga": "compensating",
            "turned": "inventory_failed",
            "order": "compensating",
            "epoch": 3,
            "looks in": 0.0,
            "paused": 0.0,
            "incidents": 0,
            "payment": "undo_granted",
            "payment, undo": ("undo:1", 100, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a booking is in doubt": {
        "retry_now": NOW,
        "look_up": {},
        "it_happened": {
            "saga": "completed",
            "order": "fulfilled",
            "epoch": 2,
            "looks in": None,
            "deadline in": 7207.0,
            "stock": (1, 0),
            "shipping": "done_by_hand",
        },
        "it_did_not": GOES_ON | {"epoch": 2, "shipping": "granted", "shipping, tries": (0, 0, 0), "shipping, first start": None},
    },
    "an open circuit": {
        "look_up": {},
        "start_undo": GOES_ON  # the time of the hold is given back
        | {
            "saga": "compensating",
            "turned": "payment_failed",
            "order": "compensating",
            "epoch": 2,
            "held by": "",
            "payment": "undo_granted",
            "payment, doubt": (True, False),
            "payment, undo": ("undo:1", None, 0.0),
            "inventory": "not_needed",
            "shipping": "not_needed",
        },
    },
    "a refund is unavailable": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund is in doubt": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund is refused": {
        "retry": ASKED_AGAIN | {"payment, doubt": (False, True), "payment, undo": ("undo:2", 100, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "a refund in another currency": {
        "retry": ASKED_AGAIN,
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "a refund of a part": {
        "retry_now": NOW,
        "look_up": {},
    },
    "a refund that gave nothing back": {
        "retry": ASKED_AGAIN,
        "look_up": {},
        "undone_by_hand": BY_HAND,
        "close": CLOSED,
    },
    "an undo that watched in vain": {
        "retry": ASKED_AGAIN | {"payment, undo": ("undo:1", None, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND | {"order": "cancelled"},
        "close": {"saga": "closed_by_operator", "order": "cancelled", "epoch": 4, "incidents": 0},
    },
    "an undo that is out of tries": {  # nobody has refused it: the same key goes on
        "retry": ASKED_AGAIN | THIRD_TRY | {"payment, undo": ("undo:1", 100, 0.0)},
        "look_up": {},
        "undone_by_hand": BY_HAND | THIRD_TRY,
        "close": CLOSED | {"epoch": 6},
    },
    "a step after the pivot that is out of tries": {
        "retry": GOES_ON
        | {
            "saga": "running",
            "epoch": 5,
            "paused": 0.0,
            "incidents": 0,
            "survey": "granted",
            "survey, tries": (0, 0, 0),
            "survey, first start": None,
        },
        "look_up": {},
        "skip": {
            "saga": "completed",
            "order": "fulfilled",
            "epoch": 5,
            "deadline in": LIMITS_S["SAGA_DEADLINE_S"],
            "paused": 0.0,
            "incidents": 0,
            "stock": (1, 0),
            "survey": "skipped",
        },
    },
    "fulfilled": {},
    "compensated": {},
}


def facts(saga_id: int, clock: ShopClock) -> dict[str, Any]:
    """All that a decision may change, instants in seconds from now."""
    saga = Saga.objects.select_related("order").get(pk=saga_id)
    at: dict[str, Any] = {
        "saga": saga.state,
        "turned": saga.failure,
        "order": saga.order.status,
        "epoch": saga.epoch,
        "looks in": clock.left(saga.wake_at),
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
            f"{one.name}, tries": (one.tries, one.undo_tries, one.waits),
            f"{one.name}, doubt": (one.doubt, one.undo_doubt),
            f"{one.name}, undo": (_attempt(one.undo_key), one.undo_amount_minor, clock.left(one.undo_granted_at)),
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
    assert ("assign" in legal) == bool(facts(saga, clock)["incidents"])


@pytest.mark.parametrize(("end", "verb"), [(end, verb) for end, verbs in CHANGES.items() for verb in verbs])
def test_a_decision_changes_this_and_nothing_else(clock: ShopClock, saga: int, end: str, verb: str) -> None:
    legal = happened(saga, end, clock)
    before = facts(saga, clock)

    decided(saga, verb, legal)

    assert changed(before, facts(saga, clock)) == CHANGES[end][verb]


@pytest.mark.parametrize("end", ENDS)
def test_whoever_only_writes_something_down_changes_nothing(clock: ShopClock, saga: int, end: str) -> None:
    legal = happened(saga, end, clock)
    before = facts(saga, clock)

    for verb in MOVES_NOTHING:
        if verb in legal:
            decided(saga, verb, legal)

    assert changed(before, facts(saga, clock)) == {}
