"""The REST interface: place, list, read, follow and cancel orders; read the catalogue. A client sees its own orders; those of others do not exist for it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fulfillment import recovery, stock
from orders import tracing
from orders.api import events, pages, placing, selection
from orders.api import representation as shown
from orders.api.parameters import Names, Paged, Parameters, without_pages
from orders.api.problems import INVALID_STATE, OrderProblem, request_id
from orders.api.revalidation import answer_unless_known
from orders.api.serializers import RequestedOrder, Strict
from orders.client_tokens import Scope
from orders.models import Order, Product, Status


class ReadOrder(Parameters):
    expand = Names(shown.EXPANSIONS)
    fields = Names(shown.FIELDS)  # type: ignore[assignment]  # declared fields do not become attributes


# What a cancel may be answered with that was not recorded.
NOT_CANCELLED = {
    "too_late": "is {}: it has been shipped or has ended, and can no longer be cancelled.",
    "unreadable": "cannot be cancelled now: it is being looked at by a person. Nothing was recorded.",
}


class Orders(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ, "POST": Scope.ORDERS_WRITE}

    def get(self, request: Request) -> Response:
        """Filters, pages and what is shown: see ``selection.OrderQuery``."""
        asked = selection.OrderQuery.of(request)
        cursors = pages.Cursors("orders", without_pages(asked))
        view, count, client_id = _view(asked, shown.SUMMARY), asked["page_size"], _client(request).pk
        position = cursors.position(asked.get("cursor"))
        found = list(selection.page_of(view.load(Order.objects.all()), client_id, asked, position, count + 1))
        has_more, orders = len(found) > count, found[:count]
        following = cursors.made_of(selection.position_of(orders[-1], asked)) if has_more else None
        return pages.answer(request, view.show(orders), has_more, following)

    def post(self, request: Request) -> Response:
        """201 as soon as the order is durable; fulfilment goes on. A declined card is not an HTTP error: the order ends payment_failed."""
        Parameters.of(request)
        key = placing.key_of(request.headers.get("Idempotency-Key"))
        wanted = RequestedOrder(data=request.data)
        if not wanted.is_valid():
            placing.refuse_what_was_valid_once(_client(request), key)
            raise ValidationError(wanted.errors)
        correlation_id = request_id(request)
        token = tracing.enter(tracing.Trace(correlation_id))
        try:
            placed = placing.place(_client(request), key, wanted.validated_data, correlation_id)
        finally:
            tracing.leave(token)
        headers = {"Location": f"/api/v1/orders/{placed.order.number}"} | ({"Idempotent-Replayed": "true"} if placed.replayed else {})
        return Response(shown.placed(placed.order, placed.lines), status=201, headers=headers)


class OrderDetail(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ}

    def get(self, request: Request, number: str) -> Response:
        """Whoever has it already, as it is, is told so (304)."""
        asked = ReadOrder.of(request)
        view = _view(asked, shown.FIELDS)
        (document,) = view.show([_find(view.load(_own(request)), number)])
        return answer_unless_known(request, document)


class OrderEvents(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ}

    def get(self, request: Request, number: str) -> Response:
        """``next_cursor`` is the last ``seq``, also where nothing follows yet: whoever asks for what is behind it later misses nothing."""
        asked = events.EventQuery.of(request)
        after, count = asked["cursor"], asked["page_size"]
        found = events.shown(list(events.events_of(_find(_own(request), number), after, count + 1)))
        has_more, data = len(found) > count, found[:count]
        return pages.answer(request, data, has_more, str(data[-1]["seq"] if data else after))


class Cancel(APIView):
    scopes: ClassVar = {"POST": Scope.ORDERS_CANCEL}

    def post(self, request: Request, number: str) -> Response:
        """200: it is cancelled. 202: recorded, and honoured at the next step border ("accepted"); shipping is under way and decides ("pending"); or it has
        failed and is undone anyway ("undoing"). 409: the parcel has left, or the order has ended otherwise.
        """
        Parameters.of(request)
        Strict(data=request.data).is_valid(raise_exception=True)
        outcome = recovery.cancel(_find(_own(request), number).number, request.user.get_username())
        order = _find(shown.View(["allowed_actions"]).load(_own(request)), number)
        if outcome in NOT_CANCELLED:
            members = {"order": number, "order_status": order.status, "allowed_actions": shown.allowed_actions(order)}
            raise OrderProblem(INVALID_STATE, f"{number} {NOT_CANCELLED[outcome].format(order.status)}", **members)
        if outcome == "accepted" and order.status == Status.CANCELLED:
            return Response({"number": number, "cancel": "cancelled", "status": order.status})
        return Response({"number": number, "cancel": outcome, "status": order.status}, status=202)


class Products(APIView):
    scopes: ClassVar = {"GET": Scope.PRODUCTS_READ}

    def get(self, request: Request) -> Response:
        asked = Paged.of(request)
        cursors = pages.Cursors("products", {})
        position, count = cursors.position(asked.get("cursor")), asked["page_size"]
        sold = _sold() if position is None else _sold().filter(sku__gt=position[0])
        found = list(sold.order_by("sku")[: count + 1])
        has_more, products = len(found) > count, found[:count]
        following = cursors.made_of([products[-1].sku]) if has_more else None
        return pages.answer(request, [shown.product(item) for item in products], has_more, following)


class ProductDetail(APIView):
    scopes: ClassVar = {"GET": Scope.PRODUCTS_READ}

    def get(self, request: Request, sku: str) -> Response:
        Parameters.of(request)
        item = _sold().filter(sku=sku).first()
        if item is None:
            raise NotFound(f"No product that is sold has the SKU {sku!r}.")
        return answer_unless_known(request, shown.product(item))


def _sold() -> QuerySet[Product]:
    return Product.objects.filter(stock.is_kept(), is_active=True, currency=settings.SHOP_CURRENCY)


def _view(asked: Mapping[str, Any], usual: Mapping[str, Any]) -> shown.View:
    return shown.View(asked.get("fields", tuple(usual)), asked.get("expand", ()))


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
