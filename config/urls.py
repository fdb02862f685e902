"""Who answers what: operators and client developers. Probes are answered before any of this (config/health.py)."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from sideeffects import discovery

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("", include("orders.api.reference.urls")),
    path("api/v1/", include("orders.api.urls")),
    path("api/v1/", include((discovery.urlpatterns(), "sideeffects"))),
]
handler400 = "orders.api.problems.bad_request"
handler404 = "orders.api.problems.not_found"
handler500 = "orders.api.problems.server_error"
