"""The form of a product. Nobody changes a price, or anything else, without having seen what it was."""

import json
import re
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.admin.fields import TextField, send_back
from orders.models import Product
from orders.money import MAX_TOTAL_MINOR, NotAnAmount, minor_of, money, written

SKU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
CHANGED = "{} has been changed since this page was opened. Nothing was saved. It is now: {!r}, {}, {}. Save again if what you wrote is still right."


def _as_opened(product: Product) -> str:
    """What a page has shown of it, and this form may change."""
    return json.dumps([product.name, product.price_minor, product.is_active])


class ProductForm(forms.ModelForm):
    """``asked``: the change of price that is to be confirmed, in words; ``answer``: what the button sends, which holds for this change alone."""

    name = TextField(max_length=120)
    price = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    opened = forms.CharField(widget=forms.HiddenInput, required=False)
    asked, answer = "", ""

    class Meta:
        model = Product
        fields: ClassVar = ["sku", "name", "currency", "is_active"]

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.instance.pk:
            self.initial["price"] = written(self.instance.price_minor, self.instance.currency)
            self.initial["opened"] = _as_opened(self.instance)
        if "currency" in self.fields:
            self.fields["currency"].initial = settings.SHOP_CURRENCY
        if "price" in self.fields:
            self.fields["price"].help_text = f"Like {written(8_420, self._currency())}, which is {money(8_420, self._currency())}."

    def clean_sku(self) -> str:
        sku = str(self.cleaned_data["sku"])
        if not SKU.fullmatch(sku):
            raise forms.ValidationError("A SKU is made of the letters A to Z, digits and - . _ / and begins with a letter or digit.")
        alike = Product.objects.filter(sku__iexact=sku).values_list("sku", flat=True).first()
        if alike:
            raise forms.ValidationError(f"{alike} is there already." if alike == sku else f"{alike} differs from it in capitals alone.")
        return sku

    def clean_currency(self) -> str:
        if self.cleaned_data["currency"] != settings.SHOP_CURRENCY:
            raise forms.ValidationError(f"This shop sells in {settings.SHOP_CURRENCY}: nobody could buy it.")
        return settings.SHOP_CURRENCY

    def clean_price(self) -> str:
        try:
            price_minor = minor_of(self.cleaned_data["price"], self._currency())
        except NotAnAmount as how:
            raise forms.ValidationError(str(how)) from None
        if not 0 < price_minor <= MAX_TOTAL_MINOR:
            raise forms.ValidationError(
                f"A price is above 0, and at most {money(MAX_TOTAL_MINOR, self._currency())}: an order may cost no more."
            )
        self.cleaned_data["price_minor"] = price_minor
        return str(self.cleaned_data["price"])

    def clean(self) -> dict[str, Any]:
        """The stored row is locked from here on, until the request has saved."""
        cleaned = super().clean() or self.cleaned_data
        stored = Product.objects.select_for_update(no_key=True).filter(pk=self.instance.pk).first()
        if stored and self.data.get("opened") != _as_opened(stored):
            self._begin_again(stored)
        elif not self.errors:
            self._ask(stored, cleaned["price_minor"])
        return cleaned

    def _currency(self) -> str:
        return self.instance.currency or settings.SHOP_CURRENCY

    def _begin_again(self, stored: Product) -> None:
        is_active = "active" if stored.is_active else "not active"
        message = CHANGED.format(stored.sku, stored.name, money(stored.price_minor, stored.currency), is_active)
        self.add_error(None, forms.ValidationError(message))
        send_back(self, opened=_as_opened(stored))

    def _ask(self, stored: Product | None, price_minor: int) -> None:
        was_minor = stored.price_minor if stored else 0
        answer = f"{was_minor} to {price_minor}"
        if price_minor == was_minor or self.data.get("confirmed") == answer:
            return
        now = money(price_minor, self._currency())
        self.asked, self.answer = f"{money(was_minor, self._currency())} → {now}" if stored else f"a new product at {now}", answer
        self.add_error(None, forms.ValidationError("Nothing is saved yet. Confirm the price below the form."))
