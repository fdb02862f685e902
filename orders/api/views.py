"""The REST interface: place, list, read, follow and cancel orders; read the catalogue. A client sees its own orders; those of others do not exist for it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fulfillment import recovery, stock
from orders.api import answers, events, pages, placing, selection
from orders.api import representation as shown
from orders.api.body import body_of
from orders.api.parameters import EXPAND, FIELDS, Names, Paged, Parameters, filters
from orders.api.problems import (
    INVALID_STATE,
    KEY_REUSED,
    NOT_TAKEN,
    OVERLOADED,
    REFERENCE_TAKEN,
    TOTAL_DIFFERS,
    Faults,
    OrderProblem,
    request_id,
)
from orders.api.reference.answered import NOT_CHANGED, refusals
from orders.api.reference.parameters import KEY, NEXT_PAGE, NO_FIELDS, NUMBER, PLACED, REVALIDATED, SKU
from orders.api.revalidation import answer_unless_known
from orders.api.serializers import RequestedOrder, Strict
from orders.client_tokens import Scope
from orders.models import Order, Product, Status


class ReadOrder(Parameters):
    expand = Names(shown.EXPANSIONS, help_text=EXPAND)
    fields = Names(shown.FIELDS, help_text=FIELDS)  # type: ignore[assignment]  # declared fields do not become attributes


# What a cancel may be answered with that was not recorded.
NOT_CANCELLED = ("too_late", "unreadable")


class Orders(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ, "POST": Scope.ORDERS_WRITE}

    @extend_schema(
        operation_id="list_orders",
        summary="List your orders",
        description="Those for which every filter holds. The newest first; with `updated_from` or `updated_before` the oldest change first.",
        parameters=[selection.OrderQuery, NEXT_PAGE],
        responses={200: OpenApiResponse(answers.OrderPage, "A page of them.")},
    )
    def get(self, request: Request) -> Response:
        """Filters, pages and what is shown: see ``selection.OrderQuery``."""
        asked = selection.OrderQuery.of(request)
        cursors = pages.Cursors("orders", filters(asked, selection.OrderQuery()))
        view, count, client_id = _view(asked, shown.SUMMARY), asked["page_size"], _client(request).pk
        position = cursors.position(asked.get("cursor"))
        with view.one_instant():
            found = list(selection.page_of(view.load(Order.objects.all()), client_id, asked, position, count + 1))
            has_more, orders = len(found) > count, found[:count]
            expanded = view.expand(orders)
        following = cursors.made_of(selection.position_of(orders[-1], asked)) if has_more else None
        return pages.answer(request, view.show(orders, expanded), has_more, following)

    @extend_schema(
        operation_id="place_order",
        summary="Place an order",
        description=(
            "201 as soon as the order is durable; payment, stock and shipping follow. A declined card is no HTTP error: the order ends `payment_failed`. "
            "A retry under the same key is answered with the same order, and places no second one."
        ),
        parameters=[KEY, *PLACED],
        request=RequestedOrder,
        responses={201: OpenApiResponse(answers.OrderSummary, "It is placed, or was placed under this key before.")}
        | refusals(TOTAL_DIFFERS, REFERENCE_TAKEN, KEY_REUSED, NOT_TAKEN, OVERLOADED),
    )
    def post(self, request: Request) -> Response:
        faults, key, wanted = Faults(), "", {}
        with faults:
            Parameters.of(request)
        with faults:
            key = placing.key_of(request.headers.get("Idempotency-Key"))
        with faults:
            wanted = _wanted(request, key)
        faults.tell()
        placed = placing.place(_client(request), key, wanted, request_id(request))
        headers = {"Location": f"/api/v1/orders/{placed.order.number}"} | ({"Idempotent-Replayed": "true"} if placed.replayed else {})
        return Response(shown.placed(placed.order, placed.lines), status=201, headers=headers)


class OrderDetail(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ}

    @extend_schema(
        operation_id="get_order",
        summary="Read an order",
        description="`allowed_actions` says what you may ask for now.",
        parameters=[NUMBER, ReadOrder, *REVALIDATED],
        responses={200: OpenApiResponse(answers.Order, "The order."), 304: NOT_CHANGED},
    )
    def get(self, request: Request, number: str) -> Response:
        """Whoever has it already, as it is, is told so (304)."""
        asked = ReadOrder.of(request)
        view = _view(asked, shown.FIELDS)
        with view.one_instant():
            orders = [_find(view.load(_own(request)), number)]
            expanded = view.expand(orders)
        (document,) = view.show(orders, expanded)
        return answer_unless_known(request, document)


class OrderEvents(APIView):
    scopes: ClassVar = {"GET": Scope.ORDERS_READ}

    @extend_schema(
        operation_id="list_order_events",
        summary="Follow an order",
        description=(
            "What has happened to it, the oldest first. Keep `next_cursor` and ask for what is behind it later: you see each event once, and miss none. "
            "An order that ended long ago may have no events any more."
        ),
        parameters=[NUMBER, events.EventQuery, NEXT_PAGE],
        responses={200: OpenApiResponse(answers.EventPage, "The events behind `cursor`.")},
    )
    def get(self, request: Request, number: str) -> Response:
        """``next_cursor`` is the last ``seq``, also where nothing follows yet: whoever asks for what is behind it later misses nothing."""
        asked = events.EventQuery.of(request)
        after, count = asked["cursor"], asked["page_size"]
        found = events.shown(events.events_of(_find(_own(request), number), after, count + 1))
        has_more, data = len(found) > count, found[:count]
        return pages.answer(request, data, has_more, str(data[-1]["seq"] if data else after))


class Cancel(APIView):
    scopes: ClassVar = {"POST": Scope.ORDERS_CANCEL}

    @extend_schema(
        operation_id="cancel_order",
        summary="Cancel an order",
        description="Recorded at once, and honoured before the next step. What was paid is given back. You may ask twice.",
        parameters=[NUMBER],
        request=NO_FIELDS,
        responses={
            200: OpenApiResponse(answers.Cancellation, "The order is cancelled."),
            202: OpenApiResponse(answers.Cancellation, "It is recorded. Follow the order to see what became of it."),
        }
        | refusals(INVALID_STATE),
    )
    def post(self, request: Request, number: str) -> Response:
        """200: it is cancelled. 202: recorded, and honoured at the next step border ("accepted"); shipping is under way and decides ("pending"); or it has
        failed and is undone anyway ("undoing"). 409: the parcel has left, or the order has ended otherwise.
        """
        faults = Faults()
        with faults:
            Parameters.of(request)
        with faults:
            Strict(data=request.data).is_valid(raise_exception=True)
        faults.tell()
        outcome = recovery.cancel(_find(_own(request), number).number, request.user.get_username())
        order = _find(shown.View(["allowed_actions"]).load(_own(request)), number)
        if outcome in NOT_CANCELLED:
            members: dict[str, Any] = {"order": number, "order_status": order.status, "allowed_actions": shown.allowed_actions(order)}
            raise OrderProblem(INVALID_STATE, f"{number} {_why_not_cancelled(outcome, order.status)}", **members)
        if outcome == "accepted" and order.status == Status.CANCELLED:
            return Response({"number": number, "cancel": "cancelled", "status": order.status})
        return Response({"number": number, "cancel": outcome, "status": order.status}, status=202)


class Products(APIView):
    scopes: ClassVar = {"GET": Scope.PRODUCTS_READ}

    @extend_schema(
        operation_id="list_products",
        summary="List what is sold",
        description="With its price. Sorted by SKU.",
        parameters=[Paged, NEXT_PAGE],
        responses={200: OpenApiResponse(answers.ProductPage, "A page of the catalogue.")},
    )
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

    @extend_schema(
        operation_id="get_product",
        summary="Read a product",
        description="With its price.",
        parameters=[SKU, *REVALIDATED],
        responses={200: OpenApiResponse(answers.Product, "The product."), 304: NOT_CHANGED},
    )
    def get(self, request: Request, sku: str) -> Response:
        Parameters.of(request)
        item = _sold().filter(sku=sku).first()
        if item is None:
            raise NotFound(f"No product that is sold has the SKU {sku!r}.")
        return answer_unless_known(request, shown.product(item))


def _why_not_cancelled(outcome: str, status: str) -> str:
    if outcome == "unreadable":
        return "cannot be cancelled now: it is being looked at by a person. Nothing was recorded."
    if status == Status.FULFILLED:
        return "has been shipped, and can no longer be cancelled."
    if status in Status.groups()["open"]:
        return "has a parcel that is booked with the carrier, and can no longer be cancelled."
    return f"has ended as {status}, and can no longer be cancelled."


def _sold() -> QuerySet[Product]:
    offered = Product.objects.filter(stock.is_kept(), is_active=True, currency=settings.SHOP_CURRENCY)
    return offered.annotate(available=stock.is_available())


def _view(asked: Mapping[str, Any], usual: Mapping[str, Any]) -> shown.View:
    """``number`` is always shown: nothing can be done with an order without it."""
    return shown.View(tuple(dict.fromkeys(["number", *asked["fields"]])) if "fields" in asked else tuple(usual), asked.get("expand", ()))


def _wanted(request: Request, key: str) -> dict[str, Any]:
    """The order that a body describes. Raises ValidationError; OrderProblem: it is not valid, and ``key`` (empty: there is none) has placed an order."""
    try:
        body = body_of(request)
        wanted = RequestedOrder(data=body)
        if not wanted.is_valid():
            raise ValidationError(placing.also_not_sold(wanted.errors, body))
    except ValidationError as wrong:
        if key:
            placing.refuse_what_was_valid_once(_client(request), key, wrong)
        raise
    return dict(wanted.validated_data)


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
