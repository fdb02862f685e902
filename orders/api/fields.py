"""What the body of an order may hold. Unknown fields are refused by name, at every level: a misspelt field must not be ignored in silence."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import serializers

from orders.api import addresses
from orders.money import MAX_TOTAL_MINOR

MAX_LINES = 50
MAX_QUANTITY = 1000
TEST_TOKEN = "tok_"
NOT_EVERYWHERE = ("city", "state", "postal_code")


class Strict(serializers.Serializer[Any]):
    """Refuses what it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            raise serializers.ValidationError(
                {name: serializers.ErrorDetail("This field is not known.", "unknown_field") for name in unknown}
            )
        return super().to_internal_value(data)


class Customer(Strict):
    email = serializers.EmailField(max_length=254)
    name = serializers.CharField(max_length=120)


class RequestedLine(Strict):
    sku = serializers.CharField(max_length=40)
    quantity = serializers.IntegerField(min_value=1, max_value=MAX_QUANTITY)


class Payment(Strict):
    token = serializers.CharField(max_length=80)

    def validate_token(self, value: str) -> str:
        if value.startswith(TEST_TOKEN) and not settings.DEMO_VALUES:
            raise serializers.ValidationError("Test cards are refused here.", "test_value")
        return value


class Address(Strict):
    name = serializers.CharField(max_length=120)
    line1 = serializers.CharField(max_length=200)
    line2 = serializers.CharField(max_length=200, required=False, allow_blank=True)
    city = serializers.CharField(max_length=100, required=False, allow_blank=True)
    state = serializers.CharField(max_length=100, required=False, allow_blank=True)
    postal_code = serializers.CharField(max_length=20, required=False, allow_blank=True)
    country = serializers.RegexField(r"\A[A-Z]{2}\Z", error_messages={"invalid": "Two capital letters (ISO 3166-1), like IE."})

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        """As the country has it: what it needs is there, and what is not there is left out."""
        if faults := addresses.faults_of(attrs):
            raise serializers.ValidationError(faults)
        return {name: value for name, value in attrs.items() if value or name not in NOT_EVERYWHERE}


class RequestedOrder(Strict):
    """Prices are not here: they come from the catalogue. ``expected_total_minor``: the order is placed only if it costs just this."""

    reference = serializers.CharField(max_length=80, required=False, allow_blank=True, default="")
    currency = serializers.CharField()
    customer = Customer()
    lines = RequestedLine(many=True, allow_empty=False, max_length=MAX_LINES)  # type: ignore[call-arg]
    payment = Payment()
    shipping_address = Address()
    expected_total_minor = serializers.IntegerField(required=False, min_value=1, max_value=MAX_TOTAL_MINOR)

    def validate_currency(self, value: str) -> str:
        if value != settings.SHOP_CURRENCY:
            raise serializers.ValidationError(f"This shop sells in {settings.SHOP_CURRENCY}.", "foreign_currency")
        return value

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        skus = [line["sku"] for line in lines]
        wrong = {index: {"sku": ["This SKU is on another line already."]} for index, sku in enumerate(skus) if sku in skus[:index]}
        if wrong:
            raise serializers.ValidationError([wrong.get(index, {}) for index in range(len(lines))], "duplicate_sku")
        return lines
