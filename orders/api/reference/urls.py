from django.urls import path

from orders.api.reference import views

urlpatterns = [
    path("api/v1/openapi.json", views.Document.as_view(), name="openapi-v1"),
    path("openapi.json", views.Document.as_view(), name="openapi"),
    path("docs", views.page, name="docs"),
    path("problems/", views.problems, name="problems"),
    path("problems/<slug:slug>", views.problem, name="problem"),
]
