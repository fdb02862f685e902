from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.bench.plain.orders import Orders


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("healthz", healthz), path("orders", Orders.as_view())]
