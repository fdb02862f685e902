"""The sandbox gives back no more than was taken, and a cancel by key leaves a tombstone."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.sandbox.answers import HANGS, error_code, one_of_two

# --- refunds ------------------------------------------------------------------------------------------------------------


def test_a_refund_never_gives_back_more_than_was_taken(sandbox: "SandboxProcess") -> None:
    """Parts may be refunded; more than what remains is refused, and so is a charge that does not exist."""
    charge = sandbox.charge("ORD-20").json()["id"]

    part = sandbox.post("/v1/refunds", "ORD-20:u:1", charge=charge, amount=420)
    part_again = sandbox.post("/v1/refunds", "ORD-20:u:1", charge=charge, amount=420)
    too_much = sandbox.post("/v1/refunds", "ORD-20:u:2", charge=charge, amount=8001)
    rest = sandbox.post("/v1/refunds", "ORD-20:u:3", charge=charge, amount=8000)
    unknown = sandbox.post("/v1/refunds", "ORD-20:u:4", charge="ch_unknown", amount=1)

    assert (part.status_code, rest.status_code) == (201, 201)
    assert part.json() == part_again.json() | {"charge": charge, "amount": 420}
    assert (too_much.status_code, error_code(too_much)) == (400, "amount_exceeds_captured")
    assert (unknown.status_code, error_code(unknown)) == (404, "unknown_charge")
    key = "ORD-20:payment:do:1"
    assert sandbox.effects("ORD-20") == [("charge", key, 8420), ("refund", key, 420), ("refund", key, 8000)]


def test_thirty_parallel_refunds_under_different_keys_stay_within_the_charge(sandbox: "SandboxProcess") -> None:
    """Even without a common key the provider cannot be talked into giving back more than it took."""
    charge = sandbox.charge("ORD-21").json()["id"]

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda n: sandbox.post("/v1/refunds", f"ORD-21:u:{n}", charge=charge, amount=8420), range(30)))

    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 29


def test_a_flaky_refund_works_the_third_time_whichever_way_it_is_asked(sandbox: "SandboxProcess") -> None:
    """The first two tries to refund the charge, or to cancel it by key, do nothing."""
    charge = sandbox.charge("ORD-22", "tok_refund_flaky_2").json()["id"]
    key = "ORD-22:payment:do:1"

    by_key = sandbox.post("/v1/charges/cancel_by_key", "ORD-22:u:1", key=key, order="ORD-22")
    by_charge = sandbox.post("/v1/refunds", "ORD-22:u:2", charge=charge, amount=8420)
    assert (by_key.status_code, by_charge.status_code, len(sandbox.effects("ORD-22"))) == (503, 503, 1)
    third = sandbox.post("/v1/refunds", "ORD-22:u:2", charge=charge, amount=8420)

    assert third.status_code == 201
    assert sandbox.effects("ORD-22") == [("charge", key, 8420), ("refund", key, 8420)]


# --- cancelling by key --------------------------------------------------------------------------------------------------


def test_cancel_by_key_leaves_a_tombstone_on_a_charge_that_never_came(sandbox: "SandboxProcess") -> None:
    """A charge that arrives after its key was cancelled is refused for good."""
    key = "ORD-30:payment:do:1"

    cancelled = sandbox.post("/v1/charges/cancel_by_key", "ORD-30:u:1", key=key, order="ORD-30")
    late = sandbox.charge("ORD-30")

    assert (cancelled.status_code, cancelled.json()) == (200, {"cancelled": key, "refunded": 0})
    assert (late.status_code, error_code(late)) == (402, "cancelled_by_key")
    assert sandbox.effects("ORD-30") == []


def test_cancel_by_key_refunds_what_remains_of_a_charge_that_came(sandbox: "SandboxProcess") -> None:
    """What remains is given back once, whoever asks again and under whatever key; the charge cannot come back."""
    key = "ORD-31:payment:do:1"
    charge = sandbox.charge("ORD-31").json()["id"]
    sandbox.post("/v1/refunds", "ORD-31:u:0", charge=charge, amount=420)

    cancels = [sandbox.post("/v1/charges/cancel_by_key", f"ORD-31:u:{n}", key=key, order="ORD-31") for n in (1, 1, 2)]

    assert [cancel.json()["refunded"] for cancel in cancels] == [8000, 8000, 0]
    assert sandbox.charge("ORD-31").status_code == 402
    assert sandbox.effects("ORD-31") == [("charge", key, 8420), ("refund", key, 420), ("refund", key, 8000)]


def test_cancel_by_key_overtakes_a_charge_that_is_still_running(sandbox: "SandboxProcess") -> None:
    """It takes effect at once; the slow charge then lands on the tombstone and takes nothing."""
    key = "ORD-32:payment:do:1"
    with ThreadPoolExecutor(2) as pool:
        _, slow = one_of_two(pool, lambda: sandbox.charge("ORD-32", "tok_slow_8s"))

        cancelled = sandbox.post("/v1/charges/cancel_by_key", "ORD-32:u:1", key=key, order="ORD-32")

        assert not slow.done()
        assert cancelled.json() == {"cancelled": key, "refunded": 0}
        assert (slow.result().status_code, error_code(slow.result())) == (402, "cancelled_by_key")
    assert sandbox.effects("ORD-32") == []


@pytest.mark.parametrize("token", ["tok_flaky_2", "tok_timeout_not_charged", "tok_timeout_charged", "tok_slow_8s"])
def test_a_cancelled_key_is_refused_at_once_whatever_its_token_does(sandbox: "SandboxProcess", token: str) -> None:
    """Scripted faults do not delay the refusal."""
    order = f"ORD-33-{token}"
    sandbox.post("/v1/charges/cancel_by_key", f"{order}:u:1", key=f"{order}:payment:do:1", order=order)

    assert sandbox.charge(order, token, timeout=HANGS).status_code == 402
    assert sandbox.effects(order) == []


def test_cancel_by_key_of_another_order_is_refused(sandbox: "SandboxProcess") -> None:
    """A mix-up of orders must not cost the wrong customer their order."""
    sandbox.charge("ORD-34")

    wrong = sandbox.post("/v1/charges/cancel_by_key", "ORD-34:u:1", key="ORD-34:payment:do:1", order="ORD-99")

    assert (wrong.status_code, error_code(wrong)) == (400, "order_mismatch")
    assert len(sandbox.effects("ORD-34")) == 1
