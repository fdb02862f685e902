"""The way out: ``payments()`` and ``carrier()`` are the providers that the settings name; ``gateway(name)`` is the same by role."""

from collections.abc import Callable, Iterable
from typing import Literal, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from fulfillment.gateways.ports import CarrierGateway, Charge, Label, PaymentGateway, Refund
from fulfillment.gateways.sandbox import SandboxCarrier, SandboxPayments

__all__ = ["CarrierGateway", "Charge", "Label", "PaymentGateway", "Refund", "carrier", "gateway", "payments"]


@overload
def gateway(name: Literal["payments"]) -> PaymentGateway: ...
@overload
def gateway(name: Literal["carrier"]) -> CarrierGateway: ...
def gateway(name: str) -> PaymentGateway | CarrierGateway:
    """The provider for this role. Raises ImproperlyConfigured, with a sentence, for a provider or a role that nobody wrote."""
    if name not in ROLES:
        raise ImproperlyConfigured(f'There is no gateway "{name}": steps may ask for {_listed(ROLES)}.')
    setting, providers = ROLES[name]
    chosen = getattr(settings, setting)
    if chosen not in providers:
        raise ImproperlyConfigured(f'{setting} is "{chosen}", which is no {name} gateway: choose one of {_listed(providers)}.')
    return providers[chosen]()


def payments() -> PaymentGateway:
    """Who takes and returns the money."""
    return gateway("payments")


def carrier() -> CarrierGateway:
    """Who moves the parcels."""
    return gateway("carrier")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))


def _sandbox_payments() -> PaymentGateway:
    return SandboxPayments(settings.SANDBOX_URL.rstrip("/"), settings.CALL_DEADLINE_S)


def _sandbox_carrier() -> CarrierGateway:
    return SandboxCarrier(settings.SANDBOX_URL.rstrip("/"), settings.CALL_DEADLINE_S)


# Role → the setting that chooses, and what there is to choose from. A new provider is a file in this package and a row here.
ROLES: dict[str, tuple[str, dict[str, Callable[[], PaymentGateway | CarrierGateway]]]] = {
    "payments": ("PAYMENTS_GATEWAY", {"sandbox": _sandbox_payments}),
    "carrier": ("CARRIER_GATEWAY", {"sandbox": _sandbox_carrier}),
}
