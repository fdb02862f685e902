"""The indexes of orders have what changes once, when an order ends. Old code goes on without those that are gone: its filters by status or change read more."""

import pgtrigger
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models, transaction
from django.db.models import F

AT_ONCE = 10_000
FINAL = ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled')


def fill(apps, schema_editor):
    """Orders that had ended before the triggers knew the columns. It does not change ``updated_at``; and it may be run again."""
    orders = apps.get_model('orders', 'Order').objects
    last = orders.order_by('-id').values_list('id', flat=True).first() or 0
    for first in range(0, last + 1, AT_ONCE):
        with pgtrigger.ignore('orders.Order:touched'), transaction.atomic():
            ended = orders.filter(id__gte=first, id__lt=first + AT_ONCE, status__in=FINAL, ended_as='')
            ended.update(ended_as=F('status'), settled_at=F('updated_at'))


class Migration(migrations.Migration):

    atomic = False  # orders go on while the indexes are built

    dependencies = [
        ('orders', '0002_order_ended_as'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(models.F('client'), models.F('ended_as'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('ended_as', ''), _negated=True), name='order_client_ended'),
        ),
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('settled_at__isnull', False)), fields=['client', 'settled_at', 'id'], name='order_client_settled'),
        ),
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('ended_as', '')), fields=['client', 'id'], name='order_open'),
        ),
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('ended_as', ''), _negated=True), fields=['ended_as', '-id'], name='order_ended_newest'),
        ),
        RemoveIndexConcurrently(
            model_name='order',
            name='order_client_status',
        ),
        RemoveIndexConcurrently(
            model_name='order',
            name='order_client_changes',
        ),
        RemoveIndexConcurrently(
            model_name='order',
            name='order_status_newest',
        ),
    ]
