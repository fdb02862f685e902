from django.urls import path
from django.views.generic import RedirectView

from orders.api.reference import views

urlpatterns = [
    path("api/v1/openapi.json", views.Document.as_view(), name="openapi-v1"),
    path("openapi.json", views.Document.as_view(), name="openapi"),
    path("docs", views.page, name="docs"),
    path("docs/", RedirectView.as_view(pattern_name="docs")),
    path("problems", RedirectView.as_view(pattern_name="problems")),
    path("problems/", views.problems, name="problems"),
    path("problems/<slug:slug>", views.problem, name="problem"),
]
