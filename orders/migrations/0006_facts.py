import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

import orders.clock


class Migration(migrations.Migration):
    """Facts; and the probes, which every queue has now: their table stays where the first release has it."""

    dependencies = [
        ('orders', '0005_releases'),
        ('fulfillment', '0002_budgets_and_ledger'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='QueueProbe',
                    fields=[
                        ('queue', models.CharField(max_length=40, primary_key=True, serialize=False)),
                        ('sent_at', models.DateTimeField(null=True)),
                        ('out_at', models.DateTimeField(null=True)),
                        ('awaited_since', models.DateTimeField(null=True)),
                        ('unanswered', models.PositiveIntegerField(default=0)),
                    ],
                    options={
                        'db_table': 'fulfillment_queueprobe',
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='Fact',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=60)),
                ('version', models.PositiveSmallIntegerField()),
                ('correlation_id', models.CharField(max_length=64)),
                ('payload', models.JSONField()),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('number', models.BigIntegerField(null=True)),
                ('relayed_at', models.DateTimeField(null=True)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='facts', to='orders.order')),
            ],
            options={
                'ordering': ['at'],
                'indexes': [models.Index(condition=models.Q(('number__isnull', True)), fields=['at', 'id'], name='fact_unnumbered'), models.Index(condition=models.Q(('relayed_at__isnull', True)), fields=['number'], name='fact_not_relayed')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('number',), name='fact_number_once')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='fact',
            trigger=pgtrigger.compiler.Trigger(name='frozen', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."order_id" IS DISTINCT FROM (NEW."order_id") OR OLD."type" IS DISTINCT FROM (NEW."type") OR OLD."version" IS DISTINCT FROM (NEW."version") OR OLD."correlation_id" IS DISTINCT FROM (NEW."correlation_id") OR OLD."payload" IS DISTINCT FROM (NEW."payload") OR OLD."at" IS DISTINCT FROM (NEW."at"))', func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='bac5cd735d32c96d375710fa0438ca90df13be90', operation='UPDATE', pgid='pgtrigger_frozen_2a7e5', table='orders_fact', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='fact',
            trigger=pgtrigger.compiler.Trigger(name='kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='99591066e129af7cfc3d48f0fbdc938993e7b990', operation='DELETE', pgid='pgtrigger_kept_465e7', table='orders_fact', when='BEFORE')),
        ),
    ]
