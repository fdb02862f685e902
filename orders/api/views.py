"""The REST interface: place, list, read and cancel orders; read the catalogue. A client sees its own orders; those of others do not exist for it."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_canon.errors import ProblemError, QueryParamError
from drf_canon.pagination import CursorPagination
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.pagination import Cursor
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fulfillment import recovery, stock
from orders.api import placing
from orders.api import representation as shown
from orders.api.problems import INVALID_STATE, request_id
from orders.api.serializers import RequestedOrder
from orders.models import Order, Product, Status


class Pages(CursorPagination):
    """``{"data", "has_more", "next_cursor"}``; 25 to a page, at most 100."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100
    ordering = "-id"
    position = re.compile(r"[0-9]+")  # what a cursor of ours holds: a value of the column that orders

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Raises QueryParamError: a cursor that was not made here."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not self.position.fullmatch(str(cursor.position)):
            raise QueryParamError({self.cursor_query_param: [ErrorDetail("Must be a cursor that this list has given.", "invalid")]})
        return cursor

    def get_page_size(self, request: Request) -> int | None:
        """Raises QueryParamError: also for what only Python takes for a number ("1_0", "٣")."""
        asked = request.query_params.get(self.page_size_query_param)
        if asked is not None and not (asked.isascii() and asked.isdecimal()):
            raise QueryParamError({self.page_size_query_param: [ErrorDetail("Must be a positive integer.", "invalid")]})
        return super().get_page_size(request)

    def answer(self, data: list[dict[str, Any]]) -> Response:
        following = self.get_next_link() if self.has_next else None
        cursor = self._cursor_in(following) if following else None
        return Response(
            {"data": data, "has_more": self.has_next, "next_cursor": cursor},
            headers={"Link": f'<{following}>; rel="next"'} if following else {},
        )

    def _cursor_in(self, link: str) -> str:
        return parse_qs(urlsplit(link).query)[self.cursor_query_param][0]


class ProductPages(Pages):
    ordering = "sku"
    position = re.compile(r"[^\x00]+")


EXPANDED = {"why": shown.why}


def expanded(request: Request) -> list[str]:
    """What ``?expand=a,b`` asks for. Raises QueryParamError: a name that cannot be expanded."""
    asked = [name for name in request.query_params.get("expand", "").split(",") if name]
    if unknown := [name for name in asked if name not in EXPANDED]:
        message = f"{', '.join(map(repr, unknown))} cannot be expanded; known: {', '.join(EXPANDED)}."
        raise QueryParamError({"expand": [ErrorDetail(message, "unknown_value")]})
    return asked


def only_parameters(request: Request, *known: str) -> None:
    """Raises QueryParamError: a parameter that is not known here."""
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise QueryParamError({name: [ErrorDetail("This parameter is not known.", "unknown_parameter")] for name in unknown})


class Orders(APIView):
    def get(self, request: Request) -> Response:
        only_parameters(request, "cursor", "page_size")
        pages = Pages()
        found = pages.paginate_queryset(shown.brief(_own(request)), request, view=self) or []
        return pages.answer([shown.summary(order) for order in found])

    def post(self, request: Request) -> Response:
        """201 as soon as the order is durable; fulfilment goes on. A declined card is not an HTTP error: the order ends payment_failed."""
        only_parameters(request)
        key = placing.key_of(request.headers.get("Idempotency-Key"))
        wanted = RequestedOrder(data=request.data)
        if not wanted.is_valid():
            placing.refuse_what_was_valid_once(_client(request), key)
            raise ValidationError(placing.also_not_sold(wanted.errors, request.data))
        placed = placing.place(_client(request), key, wanted.validated_data, request_id(request))
        headers = {"Location": f"/api/v1/orders/{placed.order.number}"} | ({"Idempotent-Replayed": "true"} if placed.replayed else {})
        return Response(shown.placed(placed.order), status=201, headers=headers)


class OrderDetail(APIView):
    def get(self, request: Request, number: str) -> Response:
        """``?expand=why`` adds why the order is where it is, in words for a client."""
        only_parameters(request, "expand")
        asked = expanded(request)
        order = _find(shown.whole(_own(request)), number)
        return Response(shown.full(order) | {name: EXPANDED[name](order) for name in asked})


class Cancel(APIView):
    def post(self, request: Request, number: str) -> Response:
        """202: recorded, and honoured at the next step border ("pending": shipping is under way and decides). 200: it is cancelled. 409: the parcel has left, or
        the order has ended otherwise.
        """
        only_parameters(request)
        order = _find(_own(request), number)
        outcome = recovery.cancel(order.number, request.user.get_username())
        if outcome == "unreadable":
            raise ProblemError(
                INVALID_STATE, f"{order.number} cannot be cancelled now: it is being looked at by a person. Nothing was recorded."
            )
        if outcome == "too_late":
            raise ProblemError(INVALID_STATE, f"{order.number} has been shipped or has ended; it can no longer be cancelled.")
        return Response({"number": order.number, "cancel": outcome}, status=200 if order.status == Status.CANCELLED else 202)


class Products(APIView):
    def get(self, request: Request) -> Response:
        only_parameters(request, "cursor", "page_size")
        pages = ProductPages()
        sold = Product.objects.filter(stock.is_kept(), is_active=True, currency=settings.SHOP_CURRENCY)
        return pages.answer([shown.product(item) for item in pages.paginate_queryset(sold, request, view=self) or []])


def _client(request: Request) -> User:
    """Whose token it is; a request without one was refused before."""
    assert isinstance(request.user, User)
    return request.user


def _own(request: Request) -> QuerySet[Order]:
    return Order.objects.filter(client_id=request.user.pk)


def _find(orders: QuerySet[Order], number: str) -> Order:
    order = orders.filter(number=number).first()
    if order is None:
        raise NotFound(f"You have no order {number}.")
    return order
