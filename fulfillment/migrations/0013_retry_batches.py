import django.db.models.deletion
import orders.clock
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables: old code goes on as before."""

    dependencies = [
        ('fulfillment', '0012_permissions'),
    ]

    operations = [
        migrations.CreateModel(
            name='RetryBatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('filters', models.JSONField(default=dict)),
                ('previewed_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('user', models.BigIntegerField(null=True)),
                ('actor', models.CharField(blank=True, max_length=80)),
                ('reason', models.TextField(blank=True)),
                ('rate_per_s', models.FloatField(default=0.0)),
                ('confirmed_at', models.DateTimeField(null=True)),
                ('next_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name_plural': 'retry batches',
                'ordering': ['id'],
                'indexes': [models.Index(condition=models.Q(('confirmed_at__isnull', False), ('ended_at', None)), fields=['next_at', 'id'], name='retry_batch_open')],
            },
        ),
        migrations.CreateModel(
            name='RetryItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order_id', models.BigIntegerField(null=True)),
                ('order', models.CharField(max_length=80)),
                ('version', models.BigIntegerField(default=0)),
                ('amount_minor', models.BigIntegerField(default=0)),
                ('currency', models.CharField(max_length=3)),
                ('skip', models.CharField(blank=True, max_length=60)),
                ('tried_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(blank=True, max_length=10)),
                ('sentence', models.TextField(blank=True)),
                ('decided_at', models.DateTimeField(null=True)),
                ('batch', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='items', to='fulfillment.retrybatch')),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(condition=models.Q(('outcome', ''), ('skip', '')), fields=['batch', 'id'], name='retry_item_waits')],
            },
        ),
    ]
