"""The one clock and the order numbers come before any table that uses them.

Columns that change together stand together, at the end of their table: an UPDATE logs what lies between the first and the last byte that has changed.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.text
import orders.clock
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

SHOP_NOW = """
CREATE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN coalesce(nullif(current_setting('shop.now', true), '')::timestamptz, now())
"""

# Nobody asks for an entry without its order, so one index is enough (orders/timeline.py).
HISTORY_BY_ORDER = """
ALTER TABLE orders_timelineentry DROP CONSTRAINT orders_timelineentry_pkey, ADD CONSTRAINT orders_timelineentry_pkey PRIMARY KEY (order_id, id)
"""
# Rows that are updated a few times when they are new: the next version finds room in the same page.
ROOM_TO_UPDATE = "ALTER TABLE orders_order SET (fillfactor = 90); ALTER TABLE orders_fact SET (fillfactor = 90)"


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(SHOP_NOW, 'DROP FUNCTION shop_now()'),
        migrations.RunSQL('CREATE SEQUENCE orders_order_number START 1001', 'DROP SEQUENCE orders_order_number'),
        migrations.CreateModel(
            name='ClientSettings',
            fields=[
                ('client', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='shop_settings', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('unique_references', models.BooleanField(default=False, help_text='A second order under a reference is refused.')),
            ],
            options={
                'verbose_name': 'API client',
            },
        ),
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
        migrations.CreateModel(
            name='TurnRow',
            fields=[
                ('name', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('token', models.UUIDField()),
                ('holder', models.CharField(max_length=80)),
                ('release', models.PositiveIntegerField()),
                ('until', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='ClientToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('orders:read', 'read orders'), ('orders:write', 'place orders'), ('orders:cancel', 'cancel orders'), ('products:read', 'read the catalogue')], max_length=20), size=None)),
                ('lifetime_days', models.PositiveIntegerField(default=0)),
                ('made_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('expires_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('last_used_at', models.DateTimeField(null=True)),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='client_tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'permissions': [('rotate_clienttoken', 'Can rotate the tokens of an API client'), ('revoke_clienttoken', 'Can revoke the tokens of an API client')],
                'default_permissions': ['view'],
            },
        ),
        migrations.CreateModel(
            name='OperatorToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('made_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('revoked_at', models.DateTimeField(null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='operator_tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('client', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='orders', to=settings.AUTH_USER_MODEL)),
                ('total_minor', models.BigIntegerField()),
                ('placed_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('digest_version', models.PositiveSmallIntegerField(db_default=1)),
                ('number', models.CharField(max_length=20)),
                ('reference', models.CharField(blank=True, db_default='', default='', max_length=80)),
                ('currency', models.CharField(max_length=3)),
                ('customer_email', models.EmailField(max_length=254)),
                ('customer_name', models.CharField(max_length=120)),
                ('shipping_address', models.JSONField()),
                ('payment_token', models.CharField(max_length=80)),
                ('idempotency_key', models.CharField(max_length=255)),
                ('request_digest', models.CharField(max_length=64)),
                ('digest', models.CharField(blank=True, db_default='', max_length=64)),
                ('correlation_id', models.CharField(max_length=64)),
                ('failure_code', models.CharField(blank=True, db_default='', default='', max_length=60)),
                ('status', models.CharField(choices=[('placed', 'Placed'), ('processing', 'Processing'), ('fulfilled', 'Fulfilled'), ('compensating', 'Compensating'), ('payment_failed', 'Payment failed'), ('inventory_failed', 'Inventory failed'), ('shipping_failed', 'Shipping failed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], db_default='placed', default='placed', max_length=20)),
                ('updated_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('finished_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-id'],
                'permissions': [('cancel_order', 'Can cancel an order'), ('forget_customer', 'Can have a customer forgotten')],
            },
        ),
        migrations.CreateModel(
            name='TimelineEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='timeline', to='orders.order')),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('epoch', models.PositiveIntegerField(db_default=0, default=0)),
                ('kind', models.CharField(choices=[('order', 'order'), ('saga', 'saga'), ('step', 'step'), ('take_over', 'taken over'), ('relaunch', 'message published again'), ('left', 'left to another release'), ('held', 'held'), ('late', 'came too late'), ('cancel', 'cancel'), ('operator', 'operator'), ('incident', 'incident'), ('delivery', 'side effect')], max_length=12)),
                ('name', models.CharField(blank=True, db_default='', default='', max_length=40)),
                ('from_state', models.CharField(blank=True, db_default='', default='', max_length=30)),
                ('to_state', models.CharField(blank=True, db_default='', default='', max_length=30)),
                ('code', models.CharField(blank=True, db_default='', default='', max_length=60)),
                ('detail', models.JSONField(db_default={}, default=dict)),
                ('actor', models.CharField(blank=True, db_default='', default='', max_length=80)),
            ],
            options={
                'verbose_name_plural': 'timeline entries',
                'ordering': ['id'],
            },
        ),
        migrations.RunSQL(HISTORY_BY_ORDER, migrations.RunSQL.noop),
        migrations.CreateModel(
            name='Incident',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=80)),
                ('kind', models.CharField(choices=[('compensation_exhausted', 'An undo could not be completed'), ('in_doubt', 'Nobody can tell whether it happened'), ('stuck', 'It does not get on'), ('quarantined', 'No process can work on it'), ('unknown_step', 'This code does not know a step of its plan'), ('orphan_payment', 'The provider holds what nobody owns'), ('provider_down', 'A provider does not answer'), ('mismatch', 'Journal and provider disagree, or cannot be compared'), ('dead_letter', 'Side effects wait for a person'), ('crash_loop', 'A process ends again and again'), ('queue_unserved', 'A queue is not served in time'), ('forgotten_orders', 'Providers hold orders that this database has forgotten'), ('overloaded', 'New orders are refused, because too many wait')], max_length=30)),
                ('step', models.CharField(blank=True, max_length=40)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('message', models.CharField(blank=True, max_length=300)),
                ('amount_minor', models.BigIntegerField(default=0)),
                ('currency', models.CharField(max_length=3)),
                ('count', models.PositiveIntegerField(db_default=1)),
                ('state', models.CharField(choices=[('open', 'Open'), ('snoozed', 'Snoozed'), ('resolved', 'Resolved')], default='open', max_length=10)),
                ('owner', models.CharField(blank=True, max_length=80)),
                ('snoozed_until', models.DateTimeField(null=True)),
                ('proposal', models.JSONField(null=True)),
                ('opened_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('resolved_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(blank=True, max_length=40)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('order', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='incidents', to='orders.order')),
            ],
            options={
                'ordering': ['-amount_minor', 'opened_at'],
            },
        ),
        migrations.CreateModel(
            name='Fact',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='facts', to='orders.order')),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('version', models.PositiveSmallIntegerField()),
                ('type', models.CharField(max_length=60)),
                ('correlation_id', models.CharField(max_length=64)),
                ('payload', models.JSONField()),
                ('number', models.BigIntegerField(null=True)),
                ('relayed_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['at'],
            },
        ),
        migrations.CreateModel(
            name='OrderLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='orders.order')),
                ('unit_price_minor', models.BigIntegerField()),
                ('quantity', models.PositiveIntegerField()),
                ('client_id', models.IntegerField(editable=False, null=True)),
                ('placed_at', models.DateTimeField(editable=False, null=True)),
                ('sku', models.CharField(max_length=40)),
                ('name', models.CharField(max_length=120)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='ProcessRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('pid', models.PositiveIntegerField()),
                ('born', models.FloatField()),
                ('release', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('lived_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('crashed', models.BooleanField(default=False)),
            ],
            options={
                'indexes': [models.Index(fields=['name', '-id'], name='process_of_name')],
            },
        ),
        migrations.CreateModel(
            name='Product',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=40)),
                ('name', models.CharField(max_length=120)),
                ('price_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('is_active', models.BooleanField(default=True)),
            ],
            options={
                'ordering': ['sku'],
                'constraints': [models.CheckConstraint(condition=models.Q(('price_minor__gt', 0)), name='product_price_positive')],
            },
        ),
        migrations.CreateModel(
            name='RefusedAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('user', models.BigIntegerField(null=True)),
                ('actor', models.CharField(blank=True, max_length=80)),
                ('verb', models.CharField(max_length=40)),
                ('subject', models.CharField(blank=True, max_length=120)),
                ('sentence', models.CharField(max_length=300)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['subject', 'id'], name='refused_subject')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='refusedattempt',
            trigger=pgtrigger.compiler.Trigger(name='refused_append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='bc3738e03e47f3b05973f30f7714c3d7d85fe994', operation='UPDATE OR DELETE', pgid='pgtrigger_refused_append_only_9d2c8', table='orders_refusedattempt', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['client', '-placed_at', '-id'], name='order_client_newest'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.F('client'), models.F('status'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('id'), descending=True), name='order_client_status'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['client', 'updated_at', 'id'], name='order_client_changes'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.F('client'), models.F('reference'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('reference', ''), _negated=True), name='order_client_reference'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.F('client'), models.F('failure_code'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('failure_code', ''), _negated=True), name='order_client_failure'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(django.db.models.functions.text.Upper('customer_email'), models.F('client'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('id'), descending=True), name='order_email_client'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['status', '-id'], name='order_status_newest'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.UniqueConstraint(fields=('client', 'idempotency_key'), name='order_once_per_key'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('total_minor__gt', 0)), name='order_total_positive'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['placed_at'], name='order_placed', pages_per_range=32),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.UniqueConstraint(fields=('number',), name='order_once_per_number'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='order',
            trigger=pgtrigger.compiler.Trigger(name='status_machine', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{placed:cancelled,placed:compensating,placed:processing,processing:cancelled,processing:compensating,processing:failed,processing:fulfilled,processing:inventory_failed,processing:payment_failed,processing:shipping_failed,compensating:cancelled,compensating:failed,compensating:inventory_failed,compensating:payment_failed,compensating:shipping_failed}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='5857f9670ce51c58754638a32db0f354e3de10d3', operation='UPDATE', pgid='pgtrigger_status_machine_17b01', table='orders_order', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='order',
            trigger=pgtrigger.compiler.Trigger(name='touched', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='NEW.updated_at = shop_now(); RETURN NEW;', hash='aa3dc187bb6ba0893daf4005c34a149ed5c4f79c', operation='UPDATE', pgid='pgtrigger_touched_69eee', table='orders_order', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='incident',
            index=models.Index(condition=models.Q(('state', 'resolved'), _negated=True), fields=['kind', 'step', 'code'], name='incident_open'),
        ),
        migrations.AddConstraint(
            model_name='incident',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'resolved'), _negated=True), fields=('subject', 'kind', 'step', 'code'), name='incident_open_once'),
        ),
        migrations.AddIndex(
            model_name='fact',
            index=models.Index(condition=models.Q(('number__isnull', True)), fields=['at', 'id'], name='fact_unnumbered'),
        ),
        migrations.AddIndex(
            model_name='fact',
            index=models.Index(condition=models.Q(('relayed_at__isnull', True)), fields=['number'], name='fact_not_relayed'),
        ),
        migrations.AddConstraint(
            model_name='fact',
            constraint=models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('number',), name='fact_number_once'),
        ),
        migrations.AddIndex(
            model_name='fact',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='fact_at', pages_per_range=32),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='fact',
            trigger=pgtrigger.compiler.Trigger(name='frozen', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."order_id" IS DISTINCT FROM (NEW."order_id") OR OLD."type" IS DISTINCT FROM (NEW."type") OR OLD."version" IS DISTINCT FROM (NEW."version") OR OLD."correlation_id" IS DISTINCT FROM (NEW."correlation_id") OR OLD."payload" IS DISTINCT FROM (NEW."payload") OR OLD."at" IS DISTINCT FROM (NEW."at"))', func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='bac5cd735d32c96d375710fa0438ca90df13be90', operation='UPDATE', pgid='pgtrigger_frozen_2a7e5', table='orders_fact', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='fact',
            trigger=pgtrigger.compiler.Trigger(name='kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='99591066e129af7cfc3d48f0fbdc938993e7b990', operation='DELETE', pgid='pgtrigger_kept_465e7', table='orders_fact', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='orderline',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__gt', 0)), name='line_quantity_positive'),
        ),
        migrations.AddConstraint(
            model_name='orderline',
            constraint=models.UniqueConstraint(fields=('order', 'sku'), name='line_once_per_sku'),
        ),
        migrations.AddIndex(
            model_name='orderline',
            index=models.Index(models.F('client_id'), models.F('sku'), models.OrderBy(models.F('placed_at'), descending=True, nulls_last=True), models.OrderBy(models.F('order'), descending=True), name='line_client_sku'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='orderline',
            trigger=pgtrigger.compiler.Trigger(name='of_its_order', sql=pgtrigger.compiler.UpsertTriggerSql(func='SELECT client_id, placed_at INTO NEW.client_id, NEW.placed_at FROM orders_order WHERE id = NEW.order_id; RETURN NEW;', hash='3f66109e9a274a3f29179ae6583a2ef7ee1744db', operation='INSERT', pgid='pgtrigger_of_its_order_aa63b', table='orders_orderline', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='timelineentry',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='30e263ef4ce5fb161599b92350c33b387eaad04b', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_b6848', table='orders_timelineentry', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='product',
            constraint=models.UniqueConstraint(fields=('sku',), name='product_once_per_sku'),
        ),
        migrations.RunSQL(ROOM_TO_UPDATE, migrations.RunSQL.noop),
    ]
