"""The way out: ``gateway("payments")`` and ``gateway("carrier")`` are the providers that the settings name."""

from typing import Literal, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from fulfillment.gateways.ports import CarrierGateway, Charge, Label, Parcel, PaymentGateway, Refund
from fulfillment.gateways.sandbox import SandboxCarrier, SandboxPayments

__all__ = ["CarrierGateway", "Charge", "Label", "Parcel", "PaymentGateway", "Refund", "gateway"]


@overload
def gateway(name: Literal["payments"]) -> PaymentGateway: ...
@overload
def gateway(name: Literal["carrier"]) -> CarrierGateway: ...
def gateway(name: str) -> PaymentGateway | CarrierGateway:
    """The provider for this role. Raises ImproperlyConfigured, with a sentence, for a role or a provider that nobody wrote."""
    if name == "payments":
        return _chosen("PAYMENTS_GATEWAY", PAYMENTS)
    ...
