"""The settings choose a provider, and every error says what it means."""

import pickle
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured

from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable, UnknownStep
from fulfillment.gateways import carrier, gateway, payments

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.gateways.conftest import DEADLINE_S, fault_of

# --- which provider -----------------------------------------------------------------------------------------------------


def test_the_settings_choose_the_providers(settings: "Settings", sandbox: "SandboxProcess") -> None:
    """Address and deadline come from the settings alone."""
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = "sandbox"
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = f"{sandbox.url}/", DEADLINE_S

    assert payments().charge("ORD-40", 1, "EUR", "tok_ok", key="ORD-40:do").amount_minor == 1
    assert carrier().find("ORD-40:do") is None
    assert (gateway("payments"), gateway("carrier")) == (payments(), carrier())
    assert fault_of(lambda: payments().charge("ORD-41", 1, "EUR", "tok_timeout_charged", key="ORD-41:do")) == (InDoubt, "timeout")


def test_a_provider_that_nobody_wrote_is_refused_with_a_sentence(settings: "Settings") -> None:
    """It names the variable, the value and what there is to choose from."""
    settings.CARRIER_GATEWAY = "pigeon"

    with pytest.raises(
        ImproperlyConfigured, match=r'CARRIER_GATEWAY is "pigeon", which is no carrier gateway: choose one of "sandbox", "sandbox_b'
    ):
        carrier()
    with pytest.raises(ImproperlyConfigured, match='no gateway "psychic"'):
        gateway("psychic")  # type: ignore[call-overload]


# --- the catalogue ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Rejected, Unavailable, InDoubt, Busy, UnknownStep])
def test_every_error_says_what_it_means_and_travels_between_processes(kind: type[StepError]) -> None:
    """Three lines for the operator: what it means, whether money or stock has moved, what to do; and the code survives pickling."""
    meaning, _, moved, todo = [line.strip() for line in (kind.__doc__ or "").strip().splitlines()]
    assert meaning and moved.startswith("Has money or stock moved?") and todo.startswith("What the operator does:")

    travelled = pickle.loads(pickle.dumps(kind("It was so.", code="so")))

    assert (type(travelled), str(travelled), travelled.code) == (kind, "It was so.", "so")
    assert kind("No code.").code == ""
