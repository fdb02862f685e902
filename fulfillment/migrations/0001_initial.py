"""Columns that change together stand together, at the end of their table: an UPDATE logs what lies between the first and the last byte that has changed."""

import django.db.models.deletion
import orders.clock
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# Rows that are updated a few times when they are new: the next version finds room in the same page.
ROOM_TO_UPDATE = "ALTER TABLE fulfillment_saga SET (fillfactor = 90); ALTER TABLE fulfillment_steprecord SET (fillfactor = 90)"


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('orders', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Circuit',
            fields=[
                ('name', models.CharField(max_length=120, primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('closed', 'Closed'), ('open', 'Open'), ('half_open', 'Half open: a probe is under way')], default='closed', max_length=10)),
                ('failures', models.JSONField(default=list)),
                ('last_error', models.CharField(blank=True, max_length=120)),
                ('opened_at', models.DateTimeField(null=True)),
                ('next_probe_at', models.DateTimeField(null=True)),
                ('failed_probes', models.PositiveIntegerField(default=0)),
                ('probe', models.BigIntegerField(null=True)),
                ('probe_until', models.DateTimeField(null=True)),
                ('held_by', models.CharField(blank=True, max_length=80)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('wakes', models.BooleanField(default=False)),
            ],
            options={
                'permissions': [('hold_circuit', 'Can hold a circuit open'), ('release_circuit', 'Can release a circuit')],
            },
        ),
        migrations.CreateModel(
            name='CircuitEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('circuit', models.CharField(max_length=120)),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('to_state', models.CharField(choices=[('closed', 'Closed'), ('open', 'Open'), ('half_open', 'Half open: a probe is under way')], max_length=10)),
                ('actor', models.CharField(blank=True, max_length=80)),
                ('reason', models.CharField(blank=True, max_length=300)),
            ],
            options={
                'verbose_name_plural': 'circuit entries',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='KeyIssuer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=3)),
            ],
        ),
        migrations.CreateModel(
            name='LedgerEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='ledger', to='orders.order')),
                ('amount_minor', models.BigIntegerField()),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('by_hand', models.BooleanField(db_default=False, default=False)),
                ('step', models.CharField(max_length=40)),
                ('operation', models.CharField(choices=[('captured', 'Captured'), ('refunded', 'Refunded'), ('written_off', 'Written off')], max_length=12)),
                ('key', models.CharField(max_length=120)),
            ],
            options={
                'verbose_name_plural': 'ledger entries',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='PastAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('compensating', models.BooleanField()),
                ('attempt', models.PositiveSmallIntegerField()),
                ('key', models.CharField(max_length=86)),
                ('amount_minor', models.BigIntegerField(null=True)),
                ('refused_at', models.DateTimeField(null=True)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('message', models.CharField(blank=True, max_length=300)),
                ('started_at', models.DateTimeField(null=True)),
                ('asked_until', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['attempt'],
            },
        ),
        migrations.CreateModel(
            name='Quarantine',
            fields=[
                ('saga_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('order_id', models.BigIntegerField(db_index=True, null=True)),
                ('failures', models.PositiveIntegerField()),
                ('code', models.CharField(max_length=60)),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('inspect_at', models.DateTimeField()),
                ('notified_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Reconciliation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(choices=[('at_work', 'At work'), ('whole', 'Everything was compared'), ('in_part', 'Some orders could not be compared'), ('failed', 'It did not come to its end')], max_length=10)),
                ('summary', models.CharField(blank=True, max_length=300)),
                ('findings', models.PositiveIntegerField(default=0)),
                ('unexplained', models.JSONField(default=dict)),
                ('compared_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order_number', models.CharField(max_length=20)),
                ('sku', models.CharField(max_length=40)),
                ('quantity', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('held', 'Held'), ('released', 'Released'), ('consumed', 'Consumed')], db_default='held', default='held', max_length=10)),
            ],
        ),
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
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Saga',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='saga', to='orders.order')),
                ('opened_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('deadline_at', models.DateTimeField(null=True)),
                ('paused_s', models.FloatField(db_default=0.0, default=0.0)),
                ('release', models.PositiveIntegerField(db_default=1)),
                ('nonce', models.CharField(blank=True, db_default='', default='', max_length=10)),
                ('plan', models.JSONField()),
                ('failure', models.CharField(blank=True, db_default='', default='', max_length=20)),
                ('failed_step', models.CharField(blank=True, db_default='', default='', max_length=40)),
                ('held_by', models.CharField(blank=True, db_default='', default='', max_length=120)),
                ('held_at', models.DateTimeField(null=True)),
                ('cancel_requested_at', models.DateTimeField(null=True)),
                ('left_since', models.DateTimeField(null=True)),
                ('state', models.CharField(choices=[('running', 'Running'), ('compensating', 'Compensating'), ('completed', 'Completed'), ('compensated', 'Compensated'), ('needs_attention', 'Needs attention'), ('closed_by_operator', 'Closed by an operator')], db_default='running', default='running', max_length=20)),
                ('epoch', models.PositiveIntegerField(db_default=1, default=1)),
                ('relaunches', models.PositiveIntegerField(db_default=0, default=0)),
                ('launched_at', models.DateTimeField(null=True)),
                ('wake_at', models.DateTimeField(null=True)),
                ('due_from', models.DateTimeField(editable=False, null=True)),
                ('closed_at', models.DateTimeField(null=True)),
            ],
            options={
                'permissions': [('decide_retry_now', 'Can decide: retry now'), ('decide_retry', 'Can decide: retry'), ('decide_look_up', 'Can decide: look up'), ('decide_it_happened', 'Can decide: it happened'), ('decide_it_did_not', 'Can decide: it did not'), ('decide_start_undo', 'Can decide: start undo'), ('decide_undone_by_hand', 'Can decide: undone by hand'), ('decide_skip', 'Can decide: skip'), ('decide_close', 'Can decide: close'), ('decide_assign', 'Can decide: assign'), ('decide_snooze', 'Can decide: snooze'), ('decide_note', 'Can decide: note')],
            },
        ),
        migrations.CreateModel(
            name='StepRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('saga', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='records', to='fulfillment.saga')),
                ('position', models.PositiveSmallIntegerField()),
                ('do_attempt', models.PositiveSmallIntegerField(db_default=1, default=1)),
                ('compensation_attempt', models.PositiveSmallIntegerField(db_default=1, default=1)),
                ('waits', models.PositiveIntegerField(db_default=0, default=0)),
                ('compensation_tries', models.PositiveIntegerField(db_default=0, default=0)),
                ('doubt', models.BooleanField(db_default=False, default=False)),
                ('compensation_doubt', models.BooleanField(db_default=False, default=False)),
                ('name', models.CharField(max_length=40)),
                ('do_key', models.CharField(max_length=80)),
                ('compensation_key', models.CharField(blank=True, db_default='', default='', max_length=86)),
                ('error_code', models.CharField(blank=True, db_default='', default='', max_length=60)),
                ('error_message', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('evidence', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('compensation_amount_minor', models.BigIntegerField(null=True)),
                ('compensation_scheduled_at', models.DateTimeField(null=True)),
                ('compensation_asked_until', models.DateTimeField(null=True)),
                ('compensation_refused_at', models.DateTimeField(null=True)),
                ('compensation_receipt', models.JSONField(null=True)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('scheduled', 'Scheduled'), ('started', 'Started'), ('succeeded', 'Succeeded'), ('rejected', 'Rejected'), ('retry_wait', 'Waiting to retry'), ('in_doubt', 'In doubt'), ('done_by_hand', 'Done, says a person'), ('skipped', 'Skipped by a person'), ('not_needed', 'Not needed'), ('compensation_pending', 'To be undone'), ('compensation_scheduled', 'Undo scheduled'), ('compensation_started', 'Undo started'), ('compensation_retry_wait', 'Undo waiting to retry'), ('compensation_in_doubt', 'Undo in doubt'), ('compensation_failed', 'Undo failed'), ('compensated', 'Undone'), ('compensated_by_hand', 'Undone, says a person')], db_default='pending', default='pending', max_length=30)),
                ('tries', models.PositiveIntegerField(db_default=0, default=0)),
                ('claim', models.UUIDField(null=True)),
                ('scheduled_at', models.DateTimeField(null=True)),
                ('first_started_at', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('asked_until', models.DateTimeField(null=True)),
                ('outcome_at', models.DateTimeField(null=True)),
                ('receipt', models.JSONField(null=True)),
            ],
            options={
                'ordering': ['position'],
            },
        ),
        migrations.CreateModel(
            name='StockLevel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=40)),
                ('on_hand', models.IntegerField()),
                ('reserved', models.IntegerField(default=0)),
                ('received', models.IntegerField(db_default=0)),
            ],
            options={
                'ordering': ['sku'],
            },
        ),
        migrations.CreateModel(
            name='StockMovement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(choices=[('received', 'Received'), ('returned', 'Returned'), ('damaged', 'Damaged'), ('counted', 'Counted')], max_length=10)),
                ('pieces', models.IntegerField()),
                ('on_hand', models.IntegerField()),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('actor', models.CharField(max_length=150)),
                ('note', models.CharField(blank=True, max_length=200)),
                ('request', models.UUIDField(null=True, unique=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='SweepHeartbeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('reconciled_at', models.DateTimeField(null=True)),
            ],
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='circuitentry',
            trigger=pgtrigger.compiler.Trigger(name='circuit_append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='385492473459b49937cc091ea4eede3c721f8d04', operation='UPDATE OR DELETE', pgid='pgtrigger_circuit_append_only_b960b', table='fulfillment_circuitentry', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='quarantine',
            index=models.Index(fields=['inspect_at', 'saga_id'], name='quarantine_due'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.UniqueConstraint(fields=('order_number', 'sku'), name='reservation_once_per_sku'),
        ),
        migrations.AddIndex(
            model_name='retrybatch',
            index=models.Index(condition=models.Q(('confirmed_at__isnull', False), ('ended_at', None)), fields=['next_at', 'id'], name='retry_batch_open'),
        ),
        migrations.AddField(
            model_name='retryitem',
            name='batch',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='items', to='fulfillment.retrybatch'),
        ),
        migrations.AddField(
            model_name='pastattempt',
            name='record',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='past_attempts', to='fulfillment.steprecord'),
        ),
        migrations.AddConstraint(
            model_name='stocklevel',
            constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('on_hand__gte', models.F('reserved'))), name='stock_never_oversold'),
        ),
        migrations.AddConstraint(
            model_name='stocklevel',
            constraint=models.UniqueConstraint(fields=('sku',), name='stock_once_per_sku'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='stocklevel',
            trigger=pgtrigger.compiler.Trigger(name='first_received', sql=pgtrigger.compiler.UpsertTriggerSql(func='NEW.received = NEW.on_hand; RETURN NEW;', hash='00b3ea21c9443c9e54b27e4389ac5d01156afae1', operation='INSERT', pgid='pgtrigger_first_received_05695', table='fulfillment_stocklevel', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='stocklevel',
            trigger=pgtrigger.compiler.Trigger(name='movement_owed', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE recorded integer;', func="\n                    SELECT coalesce(sum(pieces), 0) INTO recorded FROM fulfillment_stockmovement WHERE level_id = NEW.id;\n                    IF NEW.received <> recorded THEN\n                        INSERT INTO fulfillment_stockmovement (level_id, reason, pieces, on_hand, actor, note)\n                        VALUES (NEW.id, CASE TG_OP WHEN 'INSERT' THEN 'received' ELSE 'counted' END, NEW.received - recorded, NEW.on_hand, '', '');\n                    END IF;\n                    RETURN NULL;\n                ", hash='99335a24d0db9f6507d03f31ada613654a705950', operation='INSERT OR UPDATE OF "received"', pgid='pgtrigger_movement_owed_dcad6', table='fulfillment_stocklevel', when='AFTER')),
        ),
        migrations.AddField(
            model_name='stockmovement',
            name='level',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='movements', to='fulfillment.stocklevel'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='ledger_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.UniqueConstraint(fields=('key',), name='ledger_once_per_key'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='ledgerentry',
            trigger=pgtrigger.compiler.Trigger(name='ledger_immutable', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='1042d4df9a49bee39a38cdd53a3e981872f0d941', operation='UPDATE OR DELETE', pgid='pgtrigger_ledger_immutable_92688', table='fulfillment_ledgerentry', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='retryitem',
            index=models.Index(condition=models.Q(('outcome', ''), ('skip', '')), fields=['batch', 'id'], name='retry_item_waits'),
        ),
        migrations.AddIndex(
            model_name='saga',
            index=models.Index(condition=models.Q(('held_by', ''), _negated=True), fields=['held_by', 'id'], name='saga_held'),
        ),
        migrations.AddIndex(
            model_name='saga',
            index=models.Index(condition=models.Q(('state__in', ('running', 'compensating', 'needs_attention'))), fields=['state', 'opened_at'], name='saga_open'),
        ),
        migrations.AddConstraint(
            model_name='saga',
            constraint=models.CheckConstraint(condition=models.Q(('wake_at__isnull', False), ('state__in', ['completed', 'compensated', 'closed_by_operator', 'needs_attention']), _connector='OR'), name='saga_open_has_wake_at'),
        ),
        migrations.AddIndex(
            model_name='saga',
            index=models.Index(condition=models.Q(('due_from__isnull', False)), fields=['due_from', 'id'], name='saga_due'),
        ),
        migrations.AddConstraint(
            model_name='steprecord',
            constraint=models.UniqueConstraint(fields=('saga', 'position'), name='record_once_per_position'),
        ),
        migrations.AddConstraint(
            model_name='pastattempt',
            constraint=models.UniqueConstraint(fields=('record', 'compensating', 'attempt'), name='past_attempt_once'),
        ),
        migrations.AddConstraint(
            model_name='stockmovement',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('pieces__gt', 0), ('reason__in', ('received', 'returned'))), models.Q(('pieces__lt', 0), ('reason', 'damaged')), ('reason', 'counted'), _connector='OR'), name='movement_agrees_with_reason'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='stockmovement',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='24f5c24b1674de40aec4c4dd7ae28710c27dc361', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_ef12c', table='fulfillment_stockmovement', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='saga',
            trigger=pgtrigger.compiler.Trigger(name='due_from_follows', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN ((NEW.due_from IS NULL) <> (NEW.wake_at IS NULL) OR NEW.due_from > NEW.wake_at OR NEW.due_from < NEW.wake_at - interval '40 seconds')", func='NEW.due_from = NEW.wake_at; RETURN NEW;', hash='5714368de426f3284b431ba1ddace2686b5f7f41', operation='INSERT OR UPDATE', pgid='pgtrigger_due_from_follows_1a142', table='fulfillment_saga', when='BEFORE')),
        ),
        migrations.RunSQL(ROOM_TO_UPDATE, migrations.RunSQL.noop),
    ]
