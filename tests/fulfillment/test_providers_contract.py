"""What every provider keeps, in both roles: exactly what its capabilities say, no more and no less."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fulfillment.errors import InDoubt, Rejected, StepError
from fulfillment.gateways import ROLES, Charge, Label, carrier, payments, pinned
from fulfillment.gateways.sandbox import SandboxCarrier, SandboxPayments

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.fulfillment.conftest import SandboxProcess

ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
PARCELS = [{"sku": "TENT-2P-GRN", "quantity": 1}]
numbers = itertools.count(1)


class Paying:
    """A payment provider, in the words that both roles share."""

    role, fine, refused, compensated = "payments", "tok_ok", "tok_declined", "refund"

    def __init__(self, name: str) -> None:
        with pinned("payments", name):
            self.gateway = payments()

    def do(self, order: str, value: str, key: str) -> Charge:
        return self.gateway.charge(order, 8420, "EUR", value, key=key)

    def compensate(self, charge: Charge, key: str) -> None:
        self.gateway.refund(charge.id, charge.amount_minor, key=key)

    def by_twos(self) -> list[Charge]:
        assert isinstance(self.gateway, SandboxPayments)
        return list(replace(self.gateway, page=2).listing())


class Shipping:
    """A carrier, in the words that both roles share."""

    role, fine, refused, compensated = "carrier", "T12 X7YZ", "00422", "cancel_label"

    def __init__(self, name: str) -> None:
        with pinned("carrier", name):
            self.gateway = carrier()

    def do(self, order: str, value: str, key: str) -> Label:
        return self.gateway.book(order, ADDRESS | {"postal_code": value}, PARCELS, key=key)

    def compensate(self, label: Label, key: str) -> None:
        self.gateway.cancel(label.id, key=key)

    def by_twos(self) -> list[Label]:
        assert isinstance(self.gateway, SandboxCarrier)
        return list(replace(self.gateway, page=2).listing())


EVERY = [(kind, name) for kind in (Paying, Shipping) for name in ROLES[kind.role].providers]


@pytest.fixture(params=EVERY, ids=lambda param: f"{param[0].role}-{param[1]}")
def provider(request: pytest.FixtureRequest, settings: "Settings", sandbox: "SandboxProcess") -> Any:
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = sandbox.url, 3.0
    kind, name = request.param
    return kind(name)


@pytest.fixture
def order() -> str:
    return f"ORD-{next(numbers)}"


def fault_of(call: Callable[[], object]) -> tuple[type[StepError], str]:
    with pytest.raises(StepError) as caught:
        call()
    return type(caught.value), caught.value.code


def operations(sandbox: "SandboxProcess", order: str) -> list[str]:
    return [operation for operation, _, _ in sandbox.effects(order)]


# --- the contract -------------------------------------------------------------------------------------------------------


def test_the_same_key_twice_is_one_effect_where_keys_are_known(provider: Any, order: str, sandbox: "SandboxProcess") -> None:
    """A provider without keys does it again: nothing but the caller's care keeps the customer from paying twice."""
    first, again = [provider.do(order, provider.fine, key=f"{order}:do") for _ in range(2)]

    assert (first == again) is provider.gateway.capabilities.has_keys
    assert len(sandbox.effects(order)) == (1 if provider.gateway.capabilities.has_keys else 2)
    assert {thing.key for thing in (first, again)} == {f"{order}:do"} and first.order_number == order


def test_a_rejection_is_remembered_where_the_capabilities_say_so(provider: Any, order: str, sandbox: "SandboxProcess") -> None:
    """Elsewhere the same key is decided anew: a rejection is not the last word there."""
    assert [fault_of(lambda: provider.do(order, provider.refused, key=f"{order}:do"))[0] for _ in range(2)] == [Rejected] * 2

    def ask_otherwise() -> object:
        return provider.do(order, provider.fine, key=f"{order}:do")

    if provider.gateway.capabilities.keeps_rejections:
        assert fault_of(ask_otherwise) == (InDoubt, "key_reused")
    else:
        ask_otherwise()
    assert len(sandbox.effects(order)) == (0 if provider.gateway.capabilities.keeps_rejections else 1)


def test_cancel_by_key_leaves_a_tombstone_where_the_capabilities_say_so(provider: Any, order: str, sandbox: "SandboxProcess") -> None:
    """Elsewhere there is no such thing, and what comes later takes place."""

    def come_late() -> object:
        return provider.do(order, provider.fine, key=f"{order}:do")

    def cancel() -> object:
        return provider.gateway.cancel_by_key(f"{order}:do", order, key=f"{order}:compensate")

    if provider.gateway.capabilities.tombstone:
        assert not cancel()
        assert fault_of(come_late) == (Rejected, "cancelled_by_key")
        assert sandbox.effects(order) == []
    else:
        assert fault_of(cancel) == (InDoubt, "not_found")
        come_late()
        assert len(sandbox.effects(order)) == 1


def test_look_up_finds_what_is_there(provider: Any, order: str) -> None:
    """Nothing, then what was done, then that it was compensated."""
    assert provider.gateway.find(f"{order}:do") is None

    done = provider.do(order, provider.fine, key=f"{order}:do")
    assert provider.gateway.find(f"{order}:do") == done and done.is_open

    provider.compensate(done, key=f"{order}:compensate")
    found = provider.gateway.find(f"{order}:do")
    assert found.id == done.id and not found.is_open


def test_of_several_under_one_key_look_up_finds_the_open_one(provider: Any, order: str, sandbox: "SandboxProcess") -> None:
    """Whoever compensates what a look-up finds, until it is not open any more, has compensated them all."""
    profile = provider.gateway.prefix.strip("/")
    things = []
    for _ in range(2):
        things.append(provider.do(order, provider.fine, key=f"{order}:do"))
        sandbox.client.post("/control/forget", json={"profile": profile, "key": f"{order}:do"})
    assert provider.gateway.find(f"{order}:do") == things[0] != things[1]

    provider.compensate(things[0], key=f"{order}:compensate:1")
    assert provider.gateway.find(f"{order}:do") == things[1]

    provider.compensate(things[1], key=f"{order}:compensate:2")
    assert provider.gateway.find(f"{order}:do").id == things[0].id
    assert operations(sandbox, order).count(provider.compensated) == 2


def test_the_listing_has_everything_once_oldest_first(provider: Any, order: str) -> None:
    """Whatever the size of a page; from an instant on, only what was done since."""
    before = [provider.do(order, provider.fine, key=f"{order}:do:{number}") for number in range(3)]
    instant = datetime.now(UTC)
    after = [provider.do(order, provider.fine, key=f"{order}:do:{number}") for number in range(3, 5)]
    nothing = provider.gateway.listing(datetime.now(UTC))

    for listed in (list(provider.gateway.listing()), provider.by_twos()):
        assert [thing for thing in listed if thing.order_number == order] == before + after
        assert len({thing.id for thing in listed}) == len(listed)
    assert list(provider.gateway.listing(instant)) == after
    assert list(nothing) == []


def test_a_compensation_that_is_refused_for_good_is_rejected(provider: Any, order: str) -> None:
    """The parcel has left; the card takes no refunds: a person decides, and no try is wasted."""
    value, code = ("tok_refund_declined", "refund_declined") if provider.role == "payments" else ("00410", "handed_over")
    done = provider.do(order, value, key=f"{order}:do")

    assert fault_of(lambda: provider.compensate(done, key=f"{order}:compensate:1")) == (Rejected, code)
    if provider.gateway.capabilities.tombstone:
        assert fault_of(lambda: provider.gateway.cancel_by_key(f"{order}:do", order, key=f"{order}:compensate:2")) == (Rejected, code)
    assert provider.gateway.find(f"{order}:do") == done


# --- one process, several providers -------------------------------------------------------------------------------------


def test_providers_share_no_keys_and_no_lists(order: str, settings: "Settings", sandbox: "SandboxProcess") -> None:
    """The same key with each of them is an effect with each, and none knows another's reference."""
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = sandbox.url, 3.0
    everyone = [Paying(name) for name in ROLES["payments"].providers]

    done = [one.do(order, "tok_ok", key=f"{order}:do") for one in everyone]

    assert len({charge.id for charge in done}) == len(sandbox.effects(order)) == len(everyone)
    for one, charge in zip(everyone, done, strict=True):
        assert [listed for listed in one.gateway.listing() if listed.order_number == order] == [charge]
    assert fault_of(lambda: everyone[1].compensate(done[0], key=f"{order}:compensate")) == (InDoubt, "unknown_charge")


def test_a_cancelled_key_is_cancelled_with_one_provider_only(order: str, settings: "Settings", sandbox: "SandboxProcess") -> None:
    """A tombstone is no message to the neighbours."""
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = sandbox.url, 3.0
    plain, forgetful = Paying("sandbox"), Paying("sandbox_forgetful")

    plain.gateway.cancel_by_key(f"{order}:do", order, key=f"{order}:compensate")

    assert forgetful.do(order, "tok_ok", key=f"{order}:do").is_open


def test_thirty_parallel_requests_without_keys_are_thirty_charges(order: str, settings: "Settings", sandbox: "SandboxProcess") -> None:
    """This provider does what it is told, each time; the look-up by the client's reference shows them all."""
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = sandbox.url, 3.0
    keyless = Paying("sandbox_keyless")

    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda _: keyless.do(order, "tok_ok", key=f"{order}:do"), range(30)))

    found = sandbox.client.get("/keyless/v1/charges", params={"key": f"{order}:do"}).json()["data"]
    assert {charge["id"] for charge in found} == {charge.id for charge in done}
    assert len(found) == len(sandbox.effects(order)) == 30


# --- listings that go wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=²", "since=yesterday", "since=2026-01-01T00:00:00", "after=ch_no"]
)
def test_a_listing_that_cannot_be_understood_is_refused(sandbox: "SandboxProcess", query: str) -> None:
    """The parameter is named."""
    answer = sandbox.client.get(f"/v1/charges?{query}")

    assert (answer.status_code, answer.json()["error"]["field"]) == (400, query.partition("=")[0])
