"""The provider sandbox keeps the promises that the core relies on: one key has one effect, and what it said stays said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
HANGS = 0.3  # seconds; longer than any answer takes, shorter than any silence
GONE = pytest.raises(httpx.ReadTimeout)


def error_code(answer: httpx.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def wait_for(said: Callable[[], bool], seconds: float = 3.0) -> None:
    until = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def one_of_two(pool: ThreadPoolExecutor, ask: Callable[[], httpx.Response]) -> tuple[httpx.Response, "Future[httpx.Response]"]:
    """Ask twice at once: the answer that comes first, "in progress", and the request that is still running."""
    done, running = wait([pool.submit(ask), pool.submit(ask)], return_when=FIRST_COMPLETED)
    return done.pop().result(), running.pop()


# --- charges and their keys ---------------------------------------------------------------------------------------------


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
    """The charge landed and nobody was told; the same key tells, at once and while the first request still hangs."""
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


def test_cancel_by_key_closes_the_door_on_a_charge_that_never_came(sandbox: "SandboxProcess") -> None:
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


# --- labels -------------------------------------------------------------------------------------------------------------


def test_a_label_is_booked_and_cancelled_once(sandbox: "SandboxProcess") -> None:
    """Each takes place once, and the ledger names both by the key of the booking."""
    key = "ORD-40:shipping:do:1"
    label = sandbox.book("ORD-40").json()
    assert (label["id"][:3], label["tracking"][:2]) == ("lb_", "MO")

    cancels = [sandbox.post(f"/v1/labels/{label['id']}/cancel", f"ORD-40:u:{n}") for n in (1, 1, 2)]

    assert [cancel.status_code for cancel in cancels] == [200, 200, 200]
    assert sandbox.effects("ORD-40") == [("label", key, None), ("cancel_label", key, None)]
    assert {entry["currency"] for entry in sandbox.ledger("ORD-40")} == {None}


def test_an_address_can_be_refused(sandbox: "SandboxProcess") -> None:
    """A definite no, and 422 stays reserved for reused keys."""
    refused = [sandbox.book("ORD-41", "00422") for _ in range(2)]

    assert [(answer.status_code, error_code(answer)) for answer in refused] == [(400, "address_refused")] * 2
    assert refused[1].headers["Idempotent-Replayed"] == "true"
    assert sandbox.effects("ORD-41") == []


def test_a_timeout_can_hide_a_label(sandbox: "SandboxProcess") -> None:
    """The parcel was booked and nobody was told; the same key, or a look-up, tells."""
    with GONE:
        sandbox.book("ORD-42", "00408", timeout=HANGS)

    label = sandbox.book("ORD-42", "00408").json()

    assert sandbox.client.get("/v1/labels", params={"key": "ORD-42:shipping:do:1"}).json() == {"data": [label | {"cancelled": False}]}
    assert sandbox.effects("ORD-42") == [("label", "ORD-42:shipping:do:1", None)]


def test_cancel_by_key_closes_the_door_on_a_label(sandbox: "SandboxProcess") -> None:
    """Booked or not: afterwards no parcel leaves under this key."""
    booked = sandbox.book("ORD-43").json()["id"]
    cancels = [
        sandbox.post("/v1/labels/cancel_by_key", f"{order}:u:1", key=f"{order}:shipping:do:1", order=order)
        for order in ("ORD-43", "ORD-44")
    ]

    assert [cancel.json()["label"] for cancel in cancels] == [booked, None]
    assert [error_code(sandbox.book(order)) for order in ("ORD-43", "ORD-44")] == ["cancelled_by_key"] * 2
    assert [operation for operation, _, _ in sandbox.effects("ORD-43")] == ["label", "cancel_label"]
    assert sandbox.effects("ORD-44") == []


def test_an_unknown_label_cannot_be_cancelled(sandbox: "SandboxProcess") -> None:
    """A typing error is not taken for a cancelled label."""
    assert sandbox.post("/v1/labels/lb_unknown/cancel", "ORD-45:u:1").status_code == 404


# --- bad input ----------------------------------------------------------------------------------------------------------

CHARGE: dict[str, Any] = {"order": "ORD-50", "amount": 1, "currency": "EUR", "token": "tok_ok"}
LABEL: dict[str, Any] = {
    "order": "ORD-50",
    "address": {"name": "A", "line1": "B", "city": "C", "postal_code": "D", "country": "IE"},
    "parcels": [{"sku": "TENT", "quantity": 1}],
}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/charges", {name: value for name, value in CHARGE.items() if name != "token"}, "token"),
        ("/v1/charges", CHARGE | {"amount": -1}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 0}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 1.5}, "amount"),
        ("/v1/charges", CHARGE | {"amount": True}, "amount"),
        ("/v1/charges", CHARGE | {"amount": "1"}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 10**40}, "amount"),
        ("/v1/charges", CHARGE | {"currency": "eur"}, "currency"),
        ("/v1/charges", CHARGE | {"order": ""}, "order"),
        ("/v1/charges", CHARGE | {"order": ["ORD-50"]}, "order"),
        ("/v1/charges", CHARGE | {"order": "x" * 256}, "order"),
        ("/v1/charges", CHARGE | {"order": "\x00"}, "order"),
        ("/v1/charges", CHARGE | {"order": "\ud800"}, "order"),
        ("/v1/refunds", {"charge": "ch_1", "amount": -1}, "amount"),
        ("/v1/charges/cancel_by_key", {"order": "ORD-50"}, "key"),
        ("/v1/labels", LABEL | {"address": "Cork"}, "address"),
        ("/v1/labels", LABEL | {"address": {}}, "address.name"),
        ("/v1/labels", LABEL | {"parcels": []}, "parcels"),
        ("/v1/labels", LABEL | {"parcels": ["TENT"]}, "parcels.0"),
        ("/v1/labels", LABEL | {"parcels": [{"sku": "TENT", "quantity": 0}]}, "parcels.0.quantity"),
    ],
)
def test_bad_input_is_refused_and_the_field_named(sandbox: "SandboxProcess", path: str, body: dict[str, Any], field: str) -> None:
    """Nothing is stored, and the key stays free for the corrected request."""
    answer = sandbox.client.post(path, content=json.dumps(body), headers={"Idempotency-Key": "ORD-50:k"})

    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert sandbox.effects("ORD-50") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"amount": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_object_is_refused(sandbox: "SandboxProcess", content: bytes) -> None:
    """Broken, deep or wrong JSON is a client's fault, never a crash."""
    answer = sandbox.client.post("/v1/charges", content=content, headers={"Idempotency-Key": "ORD-51:k"})

    assert (answer.status_code, error_code(answer)) == (400, "invalid_json")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 256}])
def test_a_post_needs_a_key(sandbox: "SandboxProcess", headers: dict[str, str]) -> None:
    """Without a key nobody could ask twice."""
    for path in ("/v1/charges", "/v1/refunds", "/v1/labels", "/v1/labels/lb_1/cancel"):
        answer = sandbox.client.post(path, json=CHARGE, headers=headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/nothing", 404),
        ("PUT", "/nothing", 404),
        ("POST", "/burn/v1/charges/cancel_by_key", 404),
        ("GET", "/v1/refunds", 405),
        ("POST", "/ledger", 405),
        ("PUT", "/v1/charges", 405),
        ("GET", "/v1/charges?key=", 400),
        ("GET", "/v1/labels?limit=0", 400),
    ],
)
def test_wrong_paths_and_methods_are_answered_in_json(sandbox: "SandboxProcess", method: str, path: str, status: int) -> None:
    """Every problem has a code."""
    answer = sandbox.client.request(method, path)

    assert answer.status_code == status
    assert error_code(answer)


def test_test_values_are_refused_without_demo_values(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """A real shop cannot be paid with a test card."""
    strict = new_sandbox(demo_values=False)

    refused = [strict.charge("ORD-60"), strict.charge("ORD-61", "tok_declined"), strict.book("ORD-60", "00422")]

    assert [(answer.status_code, error_code(answer)) for answer in refused] == [(400, "test_value_refused")] * 3
    assert strict.book("ORD-61").status_code == 201
    assert strict.effects("ORD-60") == []


# --- a process of its own -----------------------------------------------------------------------------------------------


def test_a_killed_sandbox_remembers_everything(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """SIGKILL and a new start change no answer, no tombstone, no count of tries and no entry of the ledger."""
    provider = new_sandbox()
    before = [provider.charge("ORD-70").json(), provider.charge("ORD-71", "tok_declined").json(), provider.book("ORD-70").json()]
    provider.post("/v1/charges/cancel_by_key", "ORD-72:u:1", key="ORD-72:payment:do:1", order="ORD-72")
    provider.charge("ORD-73", "tok_flaky_2")
    with GONE:
        provider.charge("ORD-74", "tok_timeout_charged", timeout=HANGS)
    ledger = provider.client.get("/ledger").json()

    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.client.get("/ledger").json() == ledger
    assert [provider.charge("ORD-70").json(), provider.charge("ORD-71", "tok_declined").json(), provider.book("ORD-70").json()] == before
    assert error_code(provider.charge("ORD-72")) == "cancelled_by_key"
    assert [provider.charge("ORD-73", "tok_flaky_2").status_code for _ in range(2)] == [503, 201]
    assert provider.charge("ORD-74", "tok_timeout_charged").status_code == 201


def test_a_charge_that_was_running_when_the_sandbox_was_killed_never_happened(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Nothing half-done is left: the same key charges anew, once."""
    provider = new_sandbox()
    with GONE:
        provider.charge("ORD-75", "tok_slow_8s", timeout=0.1)

    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.effects("ORD-75") == []
    assert provider.charge("ORD-75", "tok_slow_8s").status_code == 201
    assert len(provider.effects("ORD-75")) == 1


def test_a_sandbox_killed_between_effect_and_answer_did_neither(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """They are one transaction: the charge without its answer never happened, and the same key charges once."""
    provider = new_sandbox()
    provider.end()
    provider.start("from fulfillment.sandbox.ledger import Ledger; import os; Ledger.remember = lambda *_: os.kill(os.getpid(), 9)")
    with pytest.raises(httpx.HTTPError):
        provider.charge("ORD-77")
    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.effects("ORD-77") == []
    assert provider.charge("ORD-77").status_code == 201
    assert len(provider.effects("ORD-77")) == 1


def test_effect_and_answer_survive_a_kill_together(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Killed in the middle of a stream of charges: every charge in the ledger has its answer, and asking again adds none."""
    provider = new_sandbox()

    def ask(number: int) -> None:
        try:
            provider.charge(f"ORD-76-{number}")
        except httpx.HTTPError:
            pass

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(300)]
        wait(asked[:60])
        provider.end(signal.SIGKILL)
    provider.start()

    landed = [entry["order"] for entry in provider.client.get("/ledger").json()]
    assert 0 < len(landed) < 300
    assert all("Idempotent-Replayed" in provider.charge(order).headers for order in landed)
    assert len(provider.client.get("/ledger").json()) == len(landed)


def manage(*arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "TIME_SCALE": "0.05", "DEMO_VALUES": "1"}
    command = [sys.executable, "manage.py", "sandbox", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """SIGTERM ends it with exit 0, even while it keeps somebody waiting; a second one on its port or ledger says so in one line."""
    ledger = str(tmp_path / "new" / "ledger.sqlite3")
    first = manage("--port", "0", "--ledger", ledger)
    assert first.stdout is not None
    url = first.stdout.readline().split()[3].rstrip(",")
    port = url.rpartition(":")[2]
    same_port = manage("--port", port, "--ledger", str(tmp_path / "other.sqlite3"))
    same_ledger = manage("--port", "0", "--ledger", ledger)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            httpx.post, f"{url}/v1/charges", json=CHARGE | {"token": "tok_timeout_charged"}, headers={"Idempotency-Key": "k"}
        )
        refusals = [process.communicate(timeout=15) for process in (same_port, same_ledger)]
        wait_for(lambda: len(httpx.get(f"{url}/ledger").json()) == 1)
        first.send_signal(signal.SIGTERM)
        assert isinstance(waiting.exception(timeout=5), httpx.RemoteProtocolError | httpx.ReadError)
    _, errors = first.communicate(timeout=5)

    assert (first.returncode, errors) == (0, "")
    assert [process.returncode for process in (same_port, same_ledger)] == [1, 1]
    assert f"Port {port} cannot be used" in refusals[0][1] and refusals[0][1].count("\n") == 1
    assert "another sandbox has it" in refusals[1][1] and refusals[1][1].count("\n") == 1


def test_the_command_helps_and_refuses_nonsense() -> None:
    """--help shows an example; a wrong value is a usage error, exit 2."""
    processes = [manage("--help"), manage("--port", "70000"), manage("--time-scale", "0"), manage("--time-scale", "nan")]
    outputs = [process.communicate(timeout=20) for process in processes]

    assert [process.returncode for process in processes] == [0, 2, 2, 2]
    assert "Example:" in outputs[0][0] and "--no-demo-values" in outputs[0][0]
    assert "70000 is not a port" in outputs[1][1]


def test_it_listens_on_this_machine_only(sandbox: "SandboxProcess") -> None:
    """Another address of the same machine finds nobody."""
    port = int(sandbox.url.rpartition(":")[2])

    with socket.socket() as elsewhere:
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
