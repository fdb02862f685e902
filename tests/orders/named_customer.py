"""An order that names its customer wherever a name may have got, and every row of the database as text, in which the name is searched for."""

from typing import Any

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from fulfillment import movements
from fulfillment.models import PastAttempt, Saga, SagaState, StepRecord, StepState, StockLevel
from orders import facts
from orders.clock import ShopNow
from orders.events import Line, OrderFulfilled
from orders.incidents import Incident, IncidentKind, IncidentState
from orders.models import Fact, Order, OrderLine
from orders.refusals import RefusedAttempt
from orders.timeline import EntryKind, TimelineEntry
from sideeffects.models import Delivery, DeliveryState
from sideeffects.subscribers.loyalty.models import Balance, PointsEntry
from sideeffects.subscribers.loyalty.subscriber import account_of

EMAIL = "Amara.Okafor@example.com"
ADDRESS = {
    "name": "Amara N. Okafor",
    "line1": "12 Harbour Rd",
    "city": "Cork",
    "state": "Co. Munster",
    "postal_code": "T12 X7YZ",
    "country": "IE",
}
MARKS = ("amara", "okafor", "harbour", "cork", "t12 x7yz", "card_1234", account_of(EMAIL))


def an_order(number: str, email: str = EMAIL, **changes: Any) -> Order:
    """At rest, and named wherever a name may have got."""
    client, _ = User.objects.get_or_create(username="web-shop")
    columns = {
        "customer_email": email, "customer_name": "Amara Okafor", "shipping_address": ADDRESS, "payment_token": "card_1234", "reference": "for Amara",
        "idempotency_key": f"{email}-{number}", "correlation_id": "amara-1", "request_digest": "d" * 64, "digest": "e" * 64,
    }  # fmt: skip
    order = Order.objects.create(number=number, client=client, currency="EUR", total_minor=8420, **columns | changes)
    OrderLine.objects.create(order=order, sku="MUG", name="Mug", quantity=1, unit_price_minor=8420)
    saga = Saga.objects.create(order=order, state=SagaState.COMPLETED, plan=[])
    shipping = StepRecord.objects.create(
        saga=saga, position=1, name="shipping", do_key=f"{number}:shipping", state=StepState.SUCCEEDED, evidence="mail of Amara, 12 Harbour Rd",
        error_message="No such street: 12 harbour rd, CORK", receipt={"label_id": "lbl_1", "to": "Amara Okafor"},
    )  # fmt: skip
    PastAttempt.objects.create(
        record=shipping, compensating=True, attempt=1, key=f"{number}:shipping:compensate:1", message="not for Amara Okafor"
    )
    TimelineEntry.objects.create(
        order=order, kind=EntryKind.STEP, name="shipping", detail={"message": "12 Harbour Rd is unknown", "tries": [{"at": "Cork"}]}
    )
    Incident.objects.create(
        order=order,
        subject=number,
        kind=IncidentKind.STUCK,
        currency="EUR",
        state=IncidentState.RESOLVED,
        message="Amara waits",
        reason=f"asked {email}",
    )
    fact = OrderFulfilled(
        number=number, currency="EUR", total_minor=8420, tracking="TR-1", fulfilled_on="2026-11-24", lines=(Line(sku="MUG", quantity=1, unit_price_minor=8420),)
    )  # fmt: skip
    facts.record(fact, order.pk, "amara-1")
    Fact.objects.filter(pk=fact.fact_id).update(relayed_at=ShopNow())
    Delivery.objects.create(
        fact_id=fact.fact_id, subscriber="email", state=DeliveryState.DISCARDED, error_code="x", error_message=f"<{email}> is unknown"
    )
    admin, _ = User.objects.get_or_create(username="kim")
    LogEntry.objects.create(
        user=admin, content_type=ContentType.objects.get_for_model(Order), object_id=str(order.pk), object_repr=email, action_flag=CHANGE, change_message=email
    )  # fmt: skip
    StockLevel.objects.get_or_create(sku="MUG", defaults={"on_hand": 0})
    for note in (f"{number} came back from Amara Okafor", f"asked by {email}"):
        movements.record("MUG", movements.Reason.RETURNED, 1, actor="kim", note=note)
    PointsEntry.objects.create(account=account_of(email), order_number=number, points=84)
    balance, _ = Balance.objects.get_or_create(account=account_of(email), defaults={"points": 0})
    Balance.objects.filter(pk=balance.pk).update(points=balance.points + 84)
    return order


def everything() -> str:
    """Every row of every table of the shop, as text; but for what was refused, which is written down."""
    rows = []
    with connection.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in apps.get_models() if model._meta.managed} - {RefusedAttempt._meta.db_table}):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            rows += [f"{table}: {row}" for (row,) in cursor.fetchall()]
    return "\n".join(rows).lower()
