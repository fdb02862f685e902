"""What the body of an order may hold. Unknown fields are refused by name, at every level: a misspelt field must not be ignored in silence.

A value has the type that it is written with: nothing is turned into text, and no text into a number.
"""

from collections.abc import Container, Mapping
from itertools import islice
from typing import Any, ClassVar
from unicodedata import category

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.fields import empty
from rest_framework.settings import api_settings

from orders.api import addresses
from orders.api.body import Members
from orders.api.problems import MOST_ERRORS, MOST_LETTERS
from orders.money import MAX_TOTAL_MINOR
from orders.text import REFUSED, can_be_seen, can_be_written_to, has_card_number, has_control

NON_FIELD_ERRORS_KEY = str(api_settings.NON_FIELD_ERRORS_KEY)
MAX_LINES = 50
MAX_QUANTITY = 1000
TEST_TOKEN = "tok_"
NOT_EVERYWHERE = ("city", "state", "postal_code")
WHERE_NEEDED = "Needed where the country has it."
CARD_NUMBER = f"{REFUSED['card_number']} It was not kept: send the token that your payment provider has given for it."

NO_ARRAY: dict[str, Any] = {"not_a_list": "Must be an array, in square brackets."}


class Strict(serializers.Serializer[Any]):
    """Refuses what it does not know, and what stands there twice; together with whatever else is wrong."""

    default_error_messages: ClassVar = {"invalid": "Must be an object, in braces."}

    def to_internal_value(self, data: Any) -> Any:
        faults = _faults_of_names(data, self.fields)
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as wrong:
            faults = wrong.detail | faults if isinstance(wrong.detail, dict) else faults
        if faults:
            raise serializers.ValidationError(faults | self.also_wrong(data, faults))
        return value

    def also_wrong(self, data: Any, faults: Mapping[str, Any]) -> dict[str, Any]:
        """What can be said about the fields that are not in ``faults``, by rules that concern several of them."""
        return {}

    def readable(self, data: Any, faults: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the fields that are not in ``faults``."""
        fields = [field for field in self._writable_fields if isinstance(data, Mapping) and field.field_name not in faults]
        return {str(field.field_name): field.run_validation(data[field.field_name]) for field in fields if field.field_name in data}


def _faults_of_names(data: Any, known: Container[str]) -> dict[str, Any]:
    """Some more than are shown are enough: an answer tells that there are others."""
    doubled = data.doubled if isinstance(data, Members) else ()
    unknown = (name for name in data if name not in known) if isinstance(data, Mapping) else ()
    return {_shown(name): ErrorDetail("This field is not known.", "unknown_field") for name in islice(unknown, MOST_ERRORS + 1)} | {
        _shown(name): ErrorDetail("This field stands here more than once.", "duplicate_field") for name in islice(doubled, MOST_ERRORS + 1)
    }


def _shown(name: Any) -> str:
    """A name that an answer can hold: half a surrogate pair is no text, and a card number is shown to nobody."""
    text = str(name)[:MOST_LETTERS].encode("utf-8", "replace").decode()
    return "a card number" if has_card_number(text) else text


class Bounded(serializers.CharField):
    """What is longer than it may be is refused before anything is looked for in it: a stranger chooses how long a search takes."""

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str):
            if self.max_length is not None and len(data.strip()) > self.max_length:
                self.fail("max_length", max_length=self.max_length)
            self.refuse(data)
        return super().run_validation(data)

    def refuse(self, text: str) -> None:
        """What must not be there, before anything is trimmed."""


class Text(Bounded):
    """A text of which something can be seen, without control characters. Of a client's own references and names of things: their digits are its business."""

    default_error_messages: ClassVar = {
        "invalid": "Must be a text, in quotes.",
        "control_character": REFUSED["control_character"],
        "invisible": REFUSED["invisible"],
    }

    def refuse(self, text: str) -> None:
        """A NUL has a code of its own, by a validator of Django."""
        if has_control(text.replace("\x00", "")):
            self.fail("control_character")

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if not can_be_seen(data):
            self.fail("invisible")
        return super().to_internal_value(data)


class FreeText(Text):
    """What a person types. A card number does not belong there, and is not kept."""

    default_error_messages: ClassVar = {"card_number": CARD_NUMBER}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if has_card_number(text):
            self.fail("card_number")
        return text


class Email(Bounded, serializers.EmailField):
    default_error_messages: ClassVar = {"card_number": CARD_NUMBER}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or has_control(data) or any(category(letter) == "Cf" for letter in data):
            self.fail("invalid")
        if has_card_number(data):
            self.fail("card_number")
        if not can_be_written_to(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Count(serializers.IntegerField):
    """A whole number as JSON writes it. A text is none, whatever digits it holds; neither is 2.0, because 1.99999999999999999 is read as that."""

    default_error_messages: ClassVar = {"invalid": "Must be a whole number, without quotes, fraction or exponent."}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class Customer(Strict):
    email = Email(max_length=254, help_text="Where the receipt goes.")
    name = FreeText(max_length=120)


class RequestedLine(Strict):
    sku = Text(max_length=40, help_text="Of a product that is sold: `GET /api/v1/products`. Each SKU stands on one line.")
    quantity = Count(min_value=1, max_value=MAX_QUANTITY)


class Payment(Strict):
    token = FreeText(max_length=80, help_text="What your payment provider has given for the card. Never a card number.")

    def validate_token(self, value: str) -> str:
        if value.startswith(TEST_TOKEN) and not settings.DEMO_VALUES:
            raise serializers.ValidationError("Test cards are refused here.", "test_value")
        return value


class Address(Strict):
    name = FreeText(max_length=120)
    line1 = FreeText(max_length=200)
    line2 = FreeText(max_length=200, required=False, allow_blank=True)
    city = FreeText(max_length=100, required=False, allow_blank=True, help_text=WHERE_NEEDED)
    state = FreeText(max_length=100, required=False, allow_blank=True, help_text=f"State, province or prefecture. {WHERE_NEEDED}")
    postal_code = FreeText(max_length=20, required=False, allow_blank=True, help_text=WHERE_NEEDED)
    country = serializers.RegexField(
        r"\A[A-Z]{2}\Z", error_messages={"invalid": "Two capital letters (ISO 3166-1), like IE."}, help_text="ISO 3166-1."
    )

    def also_wrong(self, data: Any, faults: Mapping[str, Any]) -> dict[str, Any]:
        known = self.readable(data, faults)
        return {name: fault for name, fault in addresses.faults_of(known).items() if name not in faults} if "country" in known else {}

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        """As the country has it: what it needs is there, and what is not there is left out."""
        if faults := addresses.faults_of(attrs):
            raise serializers.ValidationError(faults)
        return {name: value for name, value in attrs.items() if value or name not in NOT_EVERYWHERE}


class RequestedOrder(Strict):
    """Prices are not here: they come from the catalogue. ``expected_total_minor``: the order is placed only if it costs just this."""

    reference = Text(max_length=80, required=False, allow_blank=True, default="", help_text="Your own number or name for the order.")
    currency = Text(help_text="The shop's, in which its prices are. ISO 4217.")
    customer = Customer()
    lines = RequestedLine(many=True, allow_empty=False, max_length=MAX_LINES, error_messages=NO_ARRAY)  # type: ignore[call-arg]
    payment = Payment()
    shipping_address = Address()
    expected_total_minor = Count(
        required=False,
        min_value=1,
        max_value=MAX_TOTAL_MINOR,
        help_text="In minor units: the order is placed only if it costs exactly this. Otherwise the answer is 409 `total_differs`.",
    )

    def validate_currency(self, value: str) -> str:
        if value != settings.SHOP_CURRENCY:
            raise serializers.ValidationError(f"This shop sells in {settings.SHOP_CURRENCY}.", "foreign_currency")
        return value

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if wrong := _on_two_lines({index: line["sku"] for index, line in enumerate(lines)}):
            raise serializers.ValidationError(wrong)
        return lines

    def also_wrong(self, data: Any, faults: Mapping[str, Any]) -> dict[str, Any]:
        wrong = _on_two_lines(readable_skus(data, faults))
        return {"lines": with_lines(faults, wrong)} if wrong else {}


def readable_skus(data: Any, faults: Mapping[str, Any]) -> dict[int, str]:
    """Of a body that has ``faults``: the SKU of each line in which that is right, whatever else is wrong."""
    lines = data.get("lines") if isinstance(data, Mapping) else None
    of_lines = faults.get("lines", {})
    if not isinstance(lines, list) or not isinstance(of_lines, dict) or NON_FIELD_ERRORS_KEY in of_lines:
        return {}
    return {index: line["sku"].strip() for index, line in enumerate(lines) if _has_sku(line) and "sku" not in of_lines.get(index, {})}


def with_lines(faults: Mapping[str, Any], more: Mapping[int, Any]) -> Any:
    """What is wrong with the lines, and ``more`` of it, by the number of the line."""
    of_lines = faults.get("lines", {})
    return of_lines | {index: {**of_lines.get(index, {}), **wrong} for index, wrong in more.items()}


def _has_sku(line: Any) -> bool:
    return isinstance(line, Mapping) and isinstance(line.get("sku"), str) and NON_FIELD_ERRORS_KEY not in line


def _on_two_lines(skus: Mapping[int, str]) -> Any:
    first: dict[str, int] = {}
    message = ErrorDetail("This SKU is on another line already.", "duplicate_sku")
    return {index: {"sku": [message]} for index, sku in skus.items() if first.setdefault(sku, index) != index}
