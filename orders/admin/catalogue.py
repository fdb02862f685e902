"""What is sold, and who may come in. Stock has a page of its own (``orders.admin.stock``)."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from fulfillment import stock
from orders.admin.product_form import ProductForm
from orders.models import Product
from orders.money import money

admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.unregister([TOTPDevice, StaticDevice])  # whoever might look there would read everybody's second factor


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """An order keeps the price of its day: editing one here changes later orders only. A new price is saved once it has been shown beside the old one."""

    form = ProductForm
    change_form_after_template = "orders/confirm_price.html"
    list_display: ClassVar = ["sku", "name", "shown_price", "shown_sold"]
    list_filter: ClassVar = ["is_active"]
    search_fields: ClassVar = ["=sku", "name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        return super().get_queryset(request).annotate(in_stock=stock.is_kept())

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Whoever may only look has no form, and sees the price as everywhere else."""
        price = "price" if self._may_save(request, obj) else "shown_price"
        return ["sku", "name", price, "currency", "is_active"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        looking = [] if self._may_save(request, obj) else ["shown_price"]
        return ["sku", "currency", *looking] if obj else looking

    def _may_save(self, request: HttpRequest, obj: Any) -> bool:
        return bool(self.has_change_permission(request, obj) if obj else self.has_add_permission(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        obj.price_minor = form.cleaned_data["price_minor"]
        obj.save()

    @display(description="Price", ordering="price_minor")
    def shown_price(self, product: Product) -> str:
        return money(product.price_minor, product.currency)

    @display(description="Sold")
    def shown_sold(self, product: Any) -> str:
        if not product.is_active:
            return "No: it is not active"
        if product.currency != settings.SHOP_CURRENCY:
            return f"No: the shop sells in {settings.SHOP_CURRENCY}"
        return "Yes" if product.in_stock else "No: it has no stock level"


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
