"""An order as a client sends it."""

from typing import Any

ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
GOOD_CARD = "tok_ok"


def body(
    sku: str = "TENT-2P-GRN", quantity: int = 1, token: str = GOOD_CARD, postal_code: str = "T12 X7YZ", email: str = "amara@example.com"
) -> dict[str, Any]:
    """One order as a client sends it."""
    return {
        "reference": "test",
        "currency": "EUR",
        "customer": {"email": email, "name": "Amara Okafor"},
        "lines": [{"sku": sku, "quantity": quantity}],
        "payment": {"token": token},
        "shipping_address": ADDRESS | {"postal_code": postal_code},
    }
