"""``GET /api/v1/products/{sku}/recommendations``: what was bought together with a product, most often first."""

from typing import ClassVar

from django.conf import settings
from drf_canon.errors import QueryParamError
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.client_tokens import Scope
from orders.models import Product
from sideeffects.subscribers.recommendations.models import CoPurchase

SHOWN = 5


class Recommended(serializers.Serializer[dict[str, object]]):
    sku = serializers.CharField()
    name = serializers.CharField()
    orders = serializers.IntegerField(min_value=1, help_text="How many orders held both.")


class RecommendedProducts(serializers.Serializer[dict[str, object]]):
    data = Recommended(many=True, help_text=f"At most {SHOWN}, the most often first.")  # type: ignore[assignment]


class Recommendations(APIView):
    scopes: ClassVar = {"GET": Scope.PRODUCTS_READ}

    @extend_schema(
        operation_id="list_recommendations",
        summary="List what was bought together with a product",
        parameters=[OpenApiParameter("sku", location=OpenApiParameter.PATH, description="The `sku` of a product.")],
        responses={200: OpenApiResponse(RecommendedProducts, "What of it is sold.")},
    )
    def get(self, request: Request, sku: str) -> Response:
        if unknown := {name: [ErrorDetail("This parameter is not known.", "unknown_parameter")] for name in request.query_params}:
            raise QueryParamError(unknown)
        if not Product.objects.filter(sku=sku).exists():
            raise NotFound(f"No product has the SKU {sku!r}.")
        best = list(CoPurchase.objects.filter(sku=sku).order_by("-orders", "other")[:SHOWN])
        offered = Product.objects.filter(sku__in=[pair.other for pair in best], is_active=True, currency=settings.SHOP_CURRENCY)
        sold = offered.in_bulk(field_name="sku")
        found = [{"sku": pair.other, "name": sold[pair.other].name, "orders": pair.orders} for pair in best if pair.other in sold]
        return Response({"data": found})
