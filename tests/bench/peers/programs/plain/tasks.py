"""One task for each step, and one for each side effect."""

from celery import chain, shared_task
from django.db import transaction
from django.utils import timezone

from tests.bench.peers.programs.plain.models import Effect, Order, Payment, Product, Shipment


@shared_task
def charge_payment(order_id: int) -> int:
    order = Order.objects.get(pk=order_id)
    Payment.objects.create(order=order, amount_cents=order.total_cents, gateway_ref=f"pay-{order_id}")
    order.status = "charged"
    order.save()
    return order_id


@shared_task
def reserve_inventory(order_id: int) -> int:
    order = Order.objects.get(pk=order_id)
    with transaction.atomic():
        for line in order.lines.order_by("product_id"):
            product = Product.objects.select_for_update().get(pk=line.product_id)
            product.available -= line.qty
            product.save()
        order.status = "reserved"
        order.save()
    return order_id


@shared_task
def create_shipment(order_id: int) -> int:
    order = Order.objects.get(pk=order_id)
    Shipment.objects.create(order=order, tracking=f"ship-{order_id}")
    order.status = "shipped"
    order.save()
    return order_id


@shared_task
def finish_order(order_id: int) -> int:
    order = Order.objects.get(pk=order_id)
    order.status = "fulfilled"
    order.fulfilled_at = timezone.now()
    order.save()
    for task in (record_analytics, send_email, add_loyalty_points, update_recommendations):
        task.delay(order_id)
    return order_id


@shared_task
def record_analytics(order_id: int) -> None:
    Effect.objects.create(order_id=order_id, kind="analytics")


@shared_task
def send_email(order_id: int) -> None:
    Effect.objects.create(order_id=order_id, kind="email")


@shared_task
def add_loyalty_points(order_id: int) -> None:
    Effect.objects.create(order_id=order_id, kind="loyalty")


@shared_task
def update_recommendations(order_id: int) -> None:
    Effect.objects.create(order_id=order_id, kind="recommendations")


def fulfill(order_id: int) -> None:
    chain(charge_payment.s(order_id), reserve_inventory.s(), create_shipment.s(), finish_order.s()).delay()
