"""What operators may choose for an API client."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from orders.models import ClientSettings


@admin.register(ClientSettings)
class ClientSettingsAdmin(ModelAdmin):
    """In force with the next order that is placed."""

    list_display: ClassVar = ["client", "unique_references"]
    fields: ClassVar = ["client", "unique_references"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["client"] if obj else []
