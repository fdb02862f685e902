"""The provider sandbox keeps the promises that the core relies on: one key has one charge, and what it said stays said."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.sandbox.answers import GONE, HANGS, error_code, one_of_two, wait_for


def test_a_charge_is_answered_and_entered(sandbox: "SandboxProcess") -> None:
    """A charge is answered with its reference, and the ledger has exactly one entry of the agreed shape."""
    answer = sandbox.charge("ORD-1")

    charge = answer.json()
    assert (answer.status_code, charge["id"][:3]) == (201, "ch_")
    assert charge | {"id": ""} == {"id": "", "order": "ORD-1", "amount": 8420, "currency": "EUR", "key": "ORD-1:payment:do:1"}
    (entry,) = sandbox.ledger("ORD-1")
    at = datetime.fromisoformat(entry.pop("at"))
    assert entry == {"order": "ORD-1", "operation": "charge", "key": "ORD-1:payment:do:1", "amount": 8420, "currency": "EUR"}
    assert at.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - at) < timedelta(seconds=30)


@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_declined", 402), ("tok_nobody_knows", 402), ("visa", 402)])
def test_the_same_key_and_body_get_the_same_answer(sandbox: "SandboxProcess", token: str, status: int) -> None:
    """Asked again, the provider repeats itself, rejections included, and says that it does."""
    order = f"ORD-2-{token}"

    first, again = sandbox.charge(order, token), sandbox.charge(order, token)

    assert first.status_code == again.status_code == status
    assert first.json() == again.json()
    assert ("Idempotent-Replayed" in first.headers, again.headers.get("Idempotent-Replayed")) == (False, "true")
    assert len(sandbox.effects(order)) == (1 if status == 201 else 0)


def test_a_decline_names_its_reason(sandbox: "SandboxProcess") -> None:
    """A customer's bank said no; a token that nobody issued is told apart."""
    assert error_code(sandbox.charge("ORD-3", "tok_declined")) == "card_declined"
    assert error_code(sandbox.charge("ORD-4", "tok_nobody_knows")) == "unknown_token"


def test_a_key_cannot_be_used_for_something_else(sandbox: "SandboxProcess") -> None:
    """The same key with another body, or at another address, is refused: keys have one namespace."""
    sandbox.charge("ORD-5")

    other_body = sandbox.charge("ORD-5", amount=1)
    other_path = sandbox.post("/v1/refunds", "ORD-5:payment:do:1", charge="ch_1", amount=1)

    assert (other_body.status_code, error_code(other_body)) == (422, "key_reused")
    assert (other_path.status_code, error_code(other_path)) == (422, "key_reused")


@pytest.mark.parametrize("token", ["tok_ok", "tok_slow_8s", "tok_flaky_2"])
def test_thirty_parallel_requests_with_one_key_are_one_charge(sandbox: "SandboxProcess", token: str) -> None:
    """However often a nervous client asks at once, the customer pays once."""
    order = f"ORD-6-{token}"

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: sandbox.charge(order, token), range(30)))

    assert {answer.status_code for answer in answers} <= {201, 409, 503}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(sandbox.effects(order)) == 1


def test_while_a_charge_is_running_its_key_is_in_progress(sandbox: "SandboxProcess") -> None:
    """A second request does not wait in line: it is told that the first is still at work; other customers are served meanwhile."""
    with ThreadPoolExecutor(2) as pool:
        busy, slow = one_of_two(pool, lambda: sandbox.charge("ORD-7", "tok_slow_8s"))
        other_body = sandbox.charge("ORD-7", "tok_slow_8s", amount=1)
        other_customer = sandbox.charge("ORD-8")

        assert not slow.done()
        assert (busy.status_code, error_code(busy)) == (409, "in_progress")
        assert other_body.status_code == 422
        assert other_customer.status_code == 201
        assert slow.result().status_code == 201
    assert len(sandbox.effects("ORD-7")) == 1


def test_a_slow_charge_lands_although_nobody_waits_for_it(sandbox: "SandboxProcess") -> None:
    """A client that hangs up does not stop what has begun."""
    with GONE:
        sandbox.charge("ORD-9", "tok_slow_8s", timeout=0.1)
    assert sandbox.effects("ORD-9") == []

    wait_for(lambda: len(sandbox.effects("ORD-9")) == 1)

    assert sandbox.charge("ORD-9", "tok_slow_8s").headers["Idempotent-Replayed"] == "true"


def test_a_timeout_can_hide_a_charge(sandbox: "SandboxProcess") -> None:
    """The charge landed and nobody was notified; the same key tells, at once and while the first request still hangs."""
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(sandbox.charge, "ORD-10", "tok_timeout_charged", timeout=1.0)
        wait_for(lambda: len(sandbox.effects("ORD-10")) == 1)

        assert sandbox.charge("ORD-10", "tok_timeout_charged", timeout=HANGS).status_code == 201
        assert not hanging.done()
        with GONE:
            hanging.result()
    assert sandbox.effects("ORD-10") == [("charge", "ORD-10:payment:do:1", 8420)]


def test_a_timeout_can_hide_nothing(sandbox: "SandboxProcess") -> None:
    """The first request vanished without a trace; the same key charges normally."""
    with GONE:
        sandbox.charge("ORD-11", "tok_timeout_not_charged", timeout=HANGS)
    assert sandbox.effects("ORD-11") == []

    assert sandbox.charge("ORD-11", "tok_timeout_not_charged").status_code == 201


def test_silence_ends_with_a_cut_line(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """A client without an end to its patience is cut off after a minute, scaled, without an answer."""
    hasty = new_sandbox(time_scale=0.005)
    begun = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        hasty.charge("ORD-12", "tok_timeout_not_charged")
    assert 0.3 <= time.monotonic() - begun < 2.0


def test_a_flaky_provider_works_the_third_time(sandbox: "SandboxProcess") -> None:
    """Two errors without an effect are not remembered."""
    statuses = [sandbox.charge("ORD-13", "tok_flaky_2").status_code for _ in range(4)]

    assert statuses == [503, 503, 201, 201]
    assert len(sandbox.effects("ORD-13")) == 1


def test_look_up_by_key(sandbox: "SandboxProcess") -> None:
    """What became of a key can be asked: nothing, or the charge and what was refunded of it."""
    assert sandbox.client.get("/v1/charges", params={"key": "ORD-14:payment:do:1"}).json() == {"data": []}

    charge = sandbox.charge("ORD-14").json()

    assert sandbox.client.get("/v1/charges", params={"key": "ORD-14:payment:do:1"}).json() == {"data": [charge | {"refunded": 0}]}
