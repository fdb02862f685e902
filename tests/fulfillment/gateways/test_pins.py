"""What a provider's capabilities say, and with whom a saga is finished: whoever it was pinned to, whatever the settings say by then."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured

from fulfillment.capabilities import Blind, Capabilities
from fulfillment.gateways import ROLES, capabilities_of, carrier, chosen, gateway, payments, pinned

if TYPE_CHECKING:
    from pytest_django import Settings

BLIND = {
    "sandbox": Blind.TOMBSTONE,
    "sandbox_forgetful": Blind.TOMBSTONE,
    "sandbox_burn": Blind.BURN,
    "sandbox_watch": Blind.WATCH,
    "sandbox_keyless": Blind.WATCH,
}


@pytest.mark.parametrize("role", ROLES)
def test_the_capabilities_say_how_a_blind_compensation_goes(role: str, settings: "Settings") -> None:
    """All three ways are there to be tried; windows and lags follow the settings."""
    settings.TIME_SCALE, settings.KEY_WINDOW_S = 0.2, 600.0

    assert {name: capabilities_of(role, name).blind for name in ROLES[role].providers} == BLIND
    assert capabilities_of(role, "sandbox") == Capabilities(key_window_s=600.0, keeps_rejections=True, tombstone=True, lookup_lag_s=3.0)
    assert capabilities_of(role, "sandbox_keyless") == Capabilities(
        key_window_s=0, keeps_rejections=False, tombstone=False, lookup_lag_s=3.0
    )


def test_a_pinned_provider_outlives_the_setting(settings: "Settings") -> None:
    """A saga is finished with whom it was begun; other roles and other sagas are not concerned."""
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = "sandbox"

    with pinned("payments", "sandbox_watch"):
        with pinned("payments", "sandbox_burn"), pinned("carrier", "sandbox_keyless"):
            assert (payments().capabilities.blind, carrier().capabilities.has_keys) == (Blind.BURN, False)
        assert (payments(), payments().capabilities.blind) == (gateway("payments"), Blind.WATCH)
        assert carrier().capabilities.blind is Blind.TOMBSTONE
        assert chosen("payments") == "sandbox"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(payments).result().capabilities.blind is Blind.TOMBSTONE
    assert payments().capabilities.blind is Blind.TOMBSTONE


def test_the_settings_are_asked_by_role(settings: "Settings") -> None:
    """What a new saga will be pinned to."""
    settings.PAYMENTS_GATEWAY, settings.CARRIER_GATEWAY = "sandbox_burn", "pigeon"

    assert chosen("payments") == "sandbox_burn"
    with pytest.raises(ImproperlyConfigured, match='CARRIER_GATEWAY is "pigeon"'):
        chosen("carrier")
    with pytest.raises(ImproperlyConfigured, match='no gateway "psychic"'):
        chosen("psychic")


def test_a_pinned_provider_that_is_gone_is_named(settings: "Settings") -> None:
    """Only those who need it are told, in a sentence."""
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = "sandbox"

    with pinned("carrier", "pigeon"):
        assert payments().capabilities.has_keys
        with pytest.raises(ImproperlyConfigured, match='The carrier gateway "pigeon", with which sagas were opened, exists no more'):
            carrier()
    with pytest.raises(ImproperlyConfigured, match='"pigeon"'):
        capabilities_of("carrier", "pigeon")
    with pytest.raises(ImproperlyConfigured, match='no gateway "psychic"'), pinned("psychic", "sandbox"):
        pass
