import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations

# A record is inserted with 160 bytes, and ends with 300. Its versions stay in the page where it is, and no index is written.
ROOM_TO_GROW = 'ALTER TABLE fulfillment_steprecord SET (fillfactor = 60)'


class Migration(migrations.Migration):

    dependencies = [
        ('fulfillment', '0002_history_pruned_at'),
    ]

    operations = [
        migrations.RunSQL(ROOM_TO_GROW, 'ALTER TABLE fulfillment_steprecord SET (fillfactor = 90)'),
        pgtrigger.migrations.RemoveTrigger(
            model_name='saga',
            name='due_from_follows',
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='saga',
            trigger=pgtrigger.compiler.Trigger(name='due_from_begins', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN ((NEW.due_from IS NULL) <> (NEW.wake_at IS NULL) OR NEW.due_from > NEW.wake_at OR NEW.due_from < NEW.wake_at - interval '40 seconds')", func='NEW.due_from = NEW.wake_at; RETURN NEW;', hash='88360be6674e90efb219afd49a0e38f11ac2e225', operation='INSERT', pgid='pgtrigger_due_from_begins_271ca', table='fulfillment_saga', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='saga',
            trigger=pgtrigger.compiler.Trigger(name='due_from_follows', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN ((NEW.due_from IS NULL) <> (NEW.wake_at IS NULL) OR NEW.due_from > NEW.wake_at OR NEW.due_from < NEW.wake_at - interval '40 seconds')", func='UPDATE fulfillment_saga SET due_from = wake_at WHERE id = NEW.id; RETURN NULL;', hash='4f22599c1531aeabad1dcea83a38f3bed6a16bc8', operation='UPDATE', pgid='pgtrigger_due_from_follows_1a142', table='fulfillment_saga', when='AFTER')),
        ),
    ]
