"""Fields of operators' forms that have one meaning: texts that can be seen, whole numbers in digits alone."""

import re
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.text import REFUSED, can_be_seen, has_card_number, has_control


class TextField(forms.CharField):
    """Of which something can be seen. A card number does not belong there."""

    widget = UnfoldAdminTextInputWidget
    default_error_messages: ClassVar = {**REFUSED}

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        faults = {
            "control_character": has_control(text),
            "invisible": bool(text) and not can_be_seen(text),
            "card_number": has_card_number(text),
        }
        for code, is_at_fault in faults.items():
            if is_at_fault:
                raise forms.ValidationError(self.error_messages[code], code)
        return text


class WholeNumberField(forms.CharField):
    """Digits alone. Django's own field takes 1.000 for 1, and 1_0 for 10."""

    widget = UnfoldAdminTextInputWidget
    unit = ""
    most = 0

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        if not re.fullmatch("[0-9]{1,15}", text):
            raise forms.ValidationError(f"Write {self.unit} in digits alone: 1000.")
        if int(text) > self.most:
            raise forms.ValidationError(f"At most {self.most:,} at once.")
        return int(text)


class PiecesField(WholeNumberField):
    unit = "pieces"
    most = 1_000_000


def send_back(form: forms.BaseForm, **values: str) -> None:
    """The page that comes back holds these values, whatever was sent."""
    data = cast(QueryDict, form.data).copy()
    for name, value in values.items():
        data[name] = value
    form.data = data
