"""What the answers hold, as the reference shows it. ``representation`` makes them; a test compares the two, so that a field of one alone fails."""

from typing import Any

from drf_canon.errors.schema import ProblemSerializer, ViolationSerializer
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from orders.models import Status

Shape = serializers.Serializer[Any]
STATUSES = (
    "More may come. An order ends in one of `fulfilled`, `payment_failed`, `inventory_failed`, `shipping_failed`, `failed`, `cancelled`."
)


class OrderLine(Shape):
    sku = serializers.CharField()
    name = serializers.CharField(help_text="As it was called when the order was placed.")
    quantity = serializers.IntegerField(min_value=1)
    unit_price_minor = serializers.IntegerField(min_value=1, help_text="In minor units: 18900 is €189.00.")


class OrderSummary(Shape):
    number = serializers.CharField(help_text="Names the order in every other request.")
    reference = serializers.CharField(allow_blank=True, help_text="Your own name for it; empty where you gave none.")
    status = serializers.ChoiceField(Status.values, help_text=STATUSES)
    attention = serializers.BooleanField(help_text="A person of the shop looks at it. There is nothing that you must do.")
    currency = serializers.CharField(help_text="ISO 4217.")
    total_minor = serializers.IntegerField(min_value=1, help_text="In minor units of `currency`.")
    placed_at = serializers.DateTimeField()
    lines = OrderLine(many=True)


class Step(Shape):
    name = serializers.CharField(help_text="`payment`, `inventory`, `shipping`; more may come.")
    state = serializers.CharField(help_text="For people to read. Branch on the `status` of the order.")
    tries = serializers.IntegerField(min_value=0)
    compensation_tries = serializers.IntegerField(min_value=0, help_text="Tries to undo it.")
    error_code = serializers.CharField(allow_blank=True, help_text="Why the last try did not succeed, for example `card_declined`.")


class SideEffect(Shape):
    subscriber = serializers.CharField(help_text="For example `email`, which sends the receipt.")
    state = serializers.CharField()
    tries = serializers.IntegerField(min_value=0)


# "from" is no name in Python.
TimelineEntry = inline_serializer(
    "TimelineEntry",
    {
        "at": serializers.DateTimeField(),
        "kind": serializers.CharField(help_text="What it is about: `order`, `saga`, `step`, `cancel`, `delivery`, …; more may come."),
        "name": serializers.CharField(allow_blank=True, help_text="The step or the subscriber."),
        "from": serializers.CharField(allow_blank=True),
        "to": serializers.CharField(allow_blank=True),
        "epoch": serializers.IntegerField(min_value=0),
        "sentence": serializers.CharField(help_text="For people to read."),
    },
    many=True,
)


class Why(Shape):
    sentence = serializers.CharField(help_text="For people to read.")
    since = serializers.DateTimeField(allow_null=True)
    next_at = serializers.DateTimeField(allow_null=True, help_text="When something happens at the latest; null where nobody knows.")
    blocked_on = serializers.CharField(allow_null=True, allow_blank=True, help_text="What it waits for, for example `a worker`.")


class Order(OrderSummary):
    steps = Step(many=True)
    side_effects = SideEffect(many=True, allow_null=True, help_text="Null: they cannot be read now; the order itself is not concerned.")
    timeline = TimelineEntry
    why = Why(required=False, help_text="Only with `expand=why`.")


class Page(Shape):
    has_more = serializers.BooleanField(help_text="Another page follows.")
    next_cursor = serializers.CharField(allow_null=True, help_text="Send it as `cursor` to read the next page; null on the last one.")


class OrderPage(Page):
    data = OrderSummary(many=True)  # type: ignore[assignment]


class Product(Shape):
    sku = serializers.CharField()
    name = serializers.CharField()
    price_minor = serializers.IntegerField(min_value=1, help_text="In minor units of `currency`.")
    currency = serializers.CharField(help_text="ISO 4217.")


class ProductPage(Page):
    data = Product(many=True)  # type: ignore[assignment]


class CancelRecorded(Shape):
    number = serializers.CharField()
    cancel = serializers.ChoiceField(
        ["accepted", "pending", "undoing"],
        help_text="`accepted`: honoured before the next step. `pending`: shipping is under way and decides. `undoing`: it is turning back already.",
    )


class Violation(ViolationSerializer):
    pointer = serializers.CharField(allow_blank=True, help_text="JSON Pointer (RFC 6901) to the value; empty: the whole of it.")
    code = serializers.CharField(help_text="Stable, for machines: [the list](/problems/validation-error).")


class ProblemDocument(ProblemSerializer):
    """Its members beside those of RFC 9457. ``order`` and what follows only in the problems that name them."""

    type = serializers.CharField(help_text="A page that explains it.")
    code = serializers.CharField(help_text="Stable, for machines: branch on this one. More may come: then go by the status.")
    request_id = serializers.CharField(help_text="Finds the request in our logs. Name it when you ask us.")
    errors = Violation(many=True, required=False, help_text="What is wrong, field by field.")
    order = serializers.CharField(required=False, help_text="The number of the order that there is already.")
    expected_total_minor = serializers.IntegerField(required=False)
    total_minor = serializers.IntegerField(required=False)
    currency = serializers.CharField(required=False)
