"""What the answers hold, as the reference shows it. ``representation`` makes them; a test compares the two, so that a field of one alone fails."""

from collections.abc import Iterable
from typing import Any

from drf_canon.errors.exceptions import LOCATIONS
from drf_canon.errors.schema import ProblemSerializer, ViolationSerializer
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from fulfillment.models import StepState
from orders.api.access import Reason
from orders.api.events import TYPES
from orders.api.reference.problem_pages import FIELD_REFUSALS, PAGES
from orders.models import Status
from orders.timeline import EntryKind
from sideeffects.models import DeliveryState

Shape = serializers.Serializer[Any]
STATUSES = f"More may come. An order ends in one of `{'`, `'.join(Status.groups()['ended'])}`."

CANCELS = {
    "cancelled": "it is",
    "accepted": "honoured before the next step",
    "pending": "shipping is under way, or a person decides: if it succeeds, it is too late",
    "undoing": "the order has failed, and is being undone anyway",
}
CANCEL_OF_AN_ORDER = (
    "What has become of a cancel: a word with which one is answered, or `too_late`. `undoing` also where you did not ask. Null: nobody has asked, and nothing is "
    "being undone."
)
CODES_OF_FIELDS = sorted({code for codes, _ in FIELD_REFUSALS for code in codes})
ERASED = "Empty: the customer's data was erased."
UPDATED = "When its status, its failure code or its customer's data last changed. `attention`, `cancel` and what is expanded may change without it."
ACTIONS = "What you may ask for now, as the last word of its path: `cancel`. Empty: nothing."


class Word(serializers.CharField):
    """One of the words that are known today. More may come, so a generated client must take others, too."""

    def __init__(self, known: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self.known = [str(word) for word in known]


class OrderLine(Shape):
    sku = serializers.CharField()
    name = serializers.CharField(help_text="As it was called when the order was placed.")
    quantity = serializers.IntegerField(min_value=1)
    unit_price_minor = serializers.IntegerField(min_value=1, help_text="In minor units: 18900 is €189.00.")


class OrderSummary(Shape):
    number = serializers.CharField(help_text="Names the order in every other request.")
    reference = serializers.CharField(allow_blank=True, help_text="Your own name for it; empty where you gave none.")
    status = Word(Status.values, help_text=STATUSES)
    failure_code = serializers.CharField(allow_blank=True, help_text="Why it failed, for example `card_declined`; empty where it did not.")
    attention = serializers.BooleanField(help_text="A person of the shop looks at it. There is nothing that you must do.")
    currency = serializers.CharField(help_text="ISO 4217.")
    total_minor = serializers.IntegerField(min_value=1, help_text="In minor units of `currency`.")
    placed_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField(help_text=UPDATED)
    lines = OrderLine(many=True)


class Step(Shape):
    name = serializers.CharField(help_text="`payment`, `inventory`, `shipping`; more may come.")
    state = Word(StepState.values, help_text="For people to read. Branch on the `status` of the order.")
    tries = serializers.IntegerField(min_value=0)
    compensation_tries = serializers.IntegerField(min_value=0, help_text="Tries to undo it.")
    error_code = serializers.CharField(allow_blank=True, help_text="Why the last try did not succeed, for example `card_declined`.")


class Delivery(Shape):
    subscriber = serializers.CharField(help_text="For example `email`, which sends the receipt.")
    state = Word(DeliveryState.values)
    tries = serializers.IntegerField(min_value=0)


# "from" is no name in Python.
TimelineEntry = inline_serializer(
    "TimelineEntry",
    {
        "at": serializers.DateTimeField(),
        "kind": Word([*EntryKind.values, "pruned"], help_text="What it is about. `pruned`: what had happened until then was removed."),
        "name": serializers.CharField(allow_blank=True, help_text="The step or the subscriber."),
        "from": serializers.CharField(allow_blank=True),
        "to": serializers.CharField(allow_blank=True),
        "epoch": serializers.IntegerField(min_value=0),
        "sentence": serializers.CharField(help_text="For people to read."),
    },
    many=True,
    help_text="Only with `expand=timeline`.",
)


class Why(Shape):
    sentence = serializers.CharField(help_text="For people to read.")
    since = serializers.DateTimeField(allow_null=True)
    next_at = serializers.DateTimeField(allow_null=True, help_text="When something happens at the latest; null where nobody knows.")
    blocked_on = serializers.CharField(allow_null=True, help_text="What it waits for, for example `a worker`. Null: for nothing.")


class OrderCustomer(Shape):
    email = serializers.CharField()
    name = serializers.CharField()


class OrderAddress(Shape):
    """As it was given: what its country does not need may be missing."""

    name = serializers.CharField(allow_blank=True, help_text=ERASED)
    line1 = serializers.CharField(allow_blank=True, help_text=ERASED)
    line2 = serializers.CharField(required=False, allow_blank=True)
    city = serializers.CharField(required=False)
    state = serializers.CharField(required=False)
    postal_code = serializers.CharField(required=False)
    country = serializers.CharField(allow_blank=True, help_text="ISO 3166-1.")


class Order(OrderSummary):
    """Every other field than ``number`` may be missing: ``fields`` chooses, and ``expand`` adds."""

    customer = OrderCustomer()
    shipping_address = OrderAddress()
    tracking_number = serializers.CharField(allow_null=True, help_text="Of the parcel that is on its way; null: there is none.")
    allowed_actions = serializers.ListField(child=Word(["cancel"]), help_text=ACTIONS)
    cancel = Word([*CANCELS, "too_late"], allow_null=True, help_text=CANCEL_OF_AN_ORDER)
    steps = Step(many=True, help_text="Only with `expand=steps`.")
    deliveries = Delivery(
        many=True,
        allow_null=True,
        help_text="The side effects. Only with `expand=deliveries`. Null: they cannot be read now; the order itself is not concerned.",
    )
    timeline = TimelineEntry
    why = Why(help_text="Only with `expand=why`.")

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for name, field in fields.items():
            field.required = name == "number"
        return fields


class Page(Shape):
    has_more = serializers.BooleanField(help_text="Another page follows.")
    next_cursor = serializers.CharField(allow_null=True, help_text="Send it as `cursor` to read the next page; null on the last one.")


class OrderPage(Page):
    data = Order(many=True)  # type: ignore[assignment]


class Event(Shape):
    seq = serializers.IntegerField(min_value=1, help_text="Its place among the events of the order. It never changes.")
    at = serializers.DateTimeField()
    type = Word(TYPES, help_text="What has happened, for example `order.fulfilled` or `step.rejected`.")
    step = serializers.CharField(allow_blank=True, help_text="Of which step; empty where it is about the whole order.")
    code = serializers.CharField(allow_blank=True, help_text="Why a try did not succeed, for example `card_declined`.")
    sentence = serializers.CharField(help_text="For people to read.")


class EventPage(Page):
    data = Event(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(
        help_text="Send it as `cursor` to read what comes behind, now or later. It is there on the last page, too."
    )


class Product(Shape):
    sku = serializers.CharField()
    name = serializers.CharField()
    price_minor = serializers.IntegerField(min_value=1, help_text="In minor units of `currency`.")
    currency = serializers.CharField(help_text="ISO 4217.")
    available = serializers.BooleanField(
        help_text="A piece of it can be had now. No promise: another order may be faster, and yours then ends `inventory_failed`."
    )


class ProductPage(Page):
    data = Product(many=True)  # type: ignore[assignment]


class Cancellation(Shape):
    number = serializers.CharField()
    cancel = Word(CANCELS, help_text=" ".join(f"`{word}`: {means}." for word, means in CANCELS.items()))
    status = Word(Status.values, help_text=STATUSES)


class Violation(ViolationSerializer):
    location = Word(LOCATIONS, help_text="Of which part of the request `pointer` speaks.")  # type: ignore[assignment]
    pointer = serializers.CharField(allow_blank=True, help_text="JSON Pointer (RFC 6901) to the value; empty: the whole of it.")
    code = Word(CODES_OF_FIELDS, help_text="Stable, for machines: [what each refuses](/problems/validation-error).")


class ProblemDocument(ProblemSerializer):
    """Its members beside those of RFC 9457. ``order`` and what follows only in the problems that name them."""

    type = serializers.CharField(help_text="A page that explains it.")
    code = Word(
        [page.code for page in PAGES], help_text="Stable, for machines: branch on this one. One that you do not know: go by the status."
    )
    request_id = serializers.CharField(help_text="Finds the request in our logs. Name it when you ask us.")
    errors = Violation(many=True, required=False, help_text="What is wrong, field by field.")
    more_errors = serializers.BooleanField(required=False, help_text="True: more is wrong than `errors` names.")
    reason = Word(Reason, required=False, help_text="Of `unauthenticated`: what is wrong with the token.")
    scope = serializers.CharField(required=False, help_text="What the token would need.")
    order = serializers.CharField(required=False, help_text="The number of the order that there is already.")
    order_status = Word(Status.values, required=False, help_text="How that order stands.")
    allowed_actions = serializers.ListField(child=Word(["cancel"]), required=False, help_text=ACTIONS)
    expected_total_minor = serializers.IntegerField(required=False)
    total_minor = serializers.IntegerField(required=False)
    currency = serializers.CharField(required=False)
