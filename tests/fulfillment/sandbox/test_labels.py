"""The sandbox books a label once, and cancels it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.sandbox.answers import GONE, HANGS, error_code


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
    """The parcel was booked and nobody was notified; the same key, or a look-up, tells."""
    with GONE:
        sandbox.book("ORD-42", "00408", timeout=HANGS)

    label = sandbox.book("ORD-42", "00408").json()

    assert sandbox.client.get("/v1/labels", params={"key": "ORD-42:shipping:do:1"}).json() == {"data": [label | {"cancelled": False}]}
    assert sandbox.effects("ORD-42") == [("label", "ORD-42:shipping:do:1", None)]


def test_cancel_by_key_leaves_a_tombstone_on_a_label(sandbox: "SandboxProcess") -> None:
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
