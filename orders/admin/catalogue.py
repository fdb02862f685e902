"""What operators may edit: names, prices and whether a product is sold; how many pieces are in the warehouse."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from knox.models import AuthToken
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from fulfillment import stock
from fulfillment.models import StockLevel
from orders.models import Product
from orders.money import money

admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.unregister(AuthToken)  # a token is shown once, to whoever makes it: a form can only make useless ones


class ProductForm(forms.ModelForm):
    def clean_price_minor(self) -> int:
        """Raises ValidationError: nothing is given away, and nobody is paid for taking it."""
        price = int(self.cleaned_data["price_minor"])
        if price <= 0:
            raise forms.ValidationError(f"A price must be above 0, in minor units: 8420 is {money(8420, settings.SHOP_CURRENCY)}.")
        return price


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """An order keeps the price of its day: editing one here changes later orders only."""

    form = ProductForm
    list_display: ClassVar = ["sku", "name", "shown_price", "is_active"]
    list_filter: ClassVar = ["is_active"]
    search_fields: ClassVar = ["=sku", "name"]
    fields: ClassVar = ["sku", "name", "price_minor", "currency", "is_active"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["sku", "currency"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Price", ordering="price_minor")
    def shown_price(self, product: Product) -> str:
        return money(product.price_minor, product.currency)


class StockForm(forms.ModelForm):
    def clean_on_hand(self) -> int:
        """Raises ValidationError: fewer than orders under way hold at this moment."""
        on_hand = int(self.cleaned_data["on_hand"])
        reserved = StockLevel.objects.filter(pk=self.instance.pk).values_list("reserved", flat=True).first() or 0
        if on_hand < reserved:
            raise forms.ValidationError(f"Orders under way hold {reserved}: there cannot be fewer on hand.")
        return on_hand


@admin.register(StockLevel)
class StockLevelAdmin(ModelAdmin):
    """``reserved`` belongs to orders that are under way."""

    form = StockForm
    list_display: ClassVar = ["sku", "on_hand", "reserved", "available"]
    search_fields: ClassVar = ["=sku"]
    fields: ClassVar = ["sku", "on_hand", "reserved"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["sku", "reserved"] if obj else ["reserved"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: StockLevel, form: Any, change: bool) -> None:
        """Writes what was edited and nothing else: an order may have reserved a piece since the page was opened."""
        if not change:
            obj.save()
        elif "on_hand" in form.changed_data:
            stock.count(obj.sku, obj.on_hand)

    @display(description="Available")
    def available(self, level: StockLevel) -> int:
        return level.available


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
