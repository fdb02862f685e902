"""Gateways: ``payments()`` and ``carrier()`` are the providers that a saga was opened with. Outside of a saga they are those that the settings name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from fulfillment.capabilities import Capabilities
from fulfillment.gateways.ports import CarrierGateway, Charge, Label, PaymentGateway, Refund
from fulfillment.gateways.sandbox import LOOKUP_LAG_S, SandboxCarrier, SandboxPayments

__all__ = [
    "CarrierGateway",
    "Charge",
    "Label",
    "PaymentGateway",
    "Refund",
    "all_of_them",
    "capabilities_of",
    "carrier",
    "chosen",
    "gateway",
    "payments",
    "pinned",
]

_pins: ContextVar[Mapping[str, str]] = ContextVar("pinned_gateways", default=MappingProxyType({}))  # role → name


@overload
def gateway(role: Literal["payments"]) -> PaymentGateway: ...
@overload
def gateway(role: Literal["carrier"]) -> CarrierGateway: ...
def gateway(role: str) -> PaymentGateway | CarrierGateway:
    """The provider for this role: the pinned one, else the one that the settings choose. Raises ImproperlyConfigured: there is no such provider."""
    pins = _pins.get()
    return _written(role, pins[role] if role in pins else chosen(role))


def payments() -> PaymentGateway:
    """Who takes and returns the money."""
    return gateway("payments")


def carrier() -> CarrierGateway:
    """Who moves the parcels."""
    return gateway("carrier")


def chosen(role: str) -> str:
    """The name that the settings choose for this role. Raises ImproperlyConfigured: there is no such provider, or no such role."""
    setting, providers = _role(role)
    name: str = getattr(settings, setting)
    if name not in providers:
        raise ImproperlyConfigured(f'{setting} is "{name}", which is no {role} gateway: choose one of {_listed(providers)}.')
    return name


@contextmanager
def pinned(role: str, name: str) -> Iterator[None]:
    """In the block the provider ``name`` has this role, whatever the settings choose: a saga keeps the provider that it was opened with.

    An unknown name is refused only when the provider is used, so that steps of other roles go on.
    """
    _role(role)
    token = _pins.set({**_pins.get(), role: name})
    try:
        yield
    finally:
        _pins.reset(token)


def exists(role: str, name: str) -> bool:
    """Whether this code still has this provider."""
    return role in ROLES and name in ROLES[role].providers


def all_of_them() -> list[tuple[str, str]]:
    """(role, name) of every provider that this code has."""
    return [(role, name) for role, found in ROLES.items() for name in found.providers]


def capabilities_of(role: str, name: str) -> Capabilities:
    """The capabilities of the provider ``name`` in this role. Raises ImproperlyConfigured: there is no such provider."""
    return _written(role, name).capabilities


def _written(role: str, name: str) -> PaymentGateway | CarrierGateway:
    providers = _role(role).providers
    if name not in providers:
        raise ImproperlyConfigured(
            f'The {role} gateway "{name}", with which sagas were opened, exists no more: there is {_listed(providers)}. '
            "Bring it back until they are closed."
        )
    return providers[name]()


def _role(role: str) -> "_Role":
    if role not in ROLES:
        raise ImproperlyConfigured(f'There is no gateway "{role}": steps may ask for {_listed(ROLES)}.')
    return ROLES[role]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))


# --- the table ----------------------------------------------------------------------------------------------------------


class _Role(NamedTuple):
    """A role. ``setting`` names the provider that new sagas get. ``providers``: the ones to choose from."""

    setting: str
    providers: Mapping[str, Callable[[], PaymentGateway | CarrierGateway]]


class _Profile(NamedTuple):
    """One of the providers that the sandbox plays: the prefix of its paths, and its capabilities."""

    prefix: str
    has_keys: bool
    keeps_rejections: bool
    tombstone: bool


SANDBOXES = {
    "sandbox": _Profile("", has_keys=True, keeps_rejections=True, tombstone=True),
    "sandbox_forgetful": _Profile("/forgetful", has_keys=True, keeps_rejections=False, tombstone=True),
    "sandbox_burn": _Profile("/burn", has_keys=True, keeps_rejections=True, tombstone=False),
    "sandbox_watch": _Profile("/watch", has_keys=True, keeps_rejections=False, tombstone=False),
    "sandbox_keyless": _Profile("/keyless", has_keys=False, keeps_rejections=False, tombstone=False),
}


def _sandbox(kind: type[SandboxPayments] | type[SandboxCarrier], profile: _Profile) -> PaymentGateway | CarrierGateway:
    """A new object for each use: it has no state, and the settings may have changed."""
    capabilities = Capabilities(
        key_window_s=settings.KEY_WINDOW_S if profile.has_keys else 0,
        keeps_rejections=profile.keeps_rejections,
        tombstone=profile.tombstone,
        lookup_lag_s=LOOKUP_LAG_S * settings.TIME_SCALE,
    )
    return kind(settings.SANDBOX_URL.rstrip("/"), settings.CALL_DEADLINE_S, capabilities, profile.prefix)


# Role → its setting and its providers. A new provider is a file in this package and a row here (docs/add-a-provider.md).
ROLES: dict[str, _Role] = {
    "payments": _Role("PAYMENTS_GATEWAY", {name: partial(_sandbox, SandboxPayments, profile) for name, profile in SANDBOXES.items()}),
    "carrier": _Role("CARRIER_GATEWAY", {name: partial(_sandbox, SandboxCarrier, profile) for name, profile in SANDBOXES.items()}),
}
