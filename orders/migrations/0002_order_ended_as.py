import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='ended_as',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=20),
        ),
        migrations.AddField(
            model_name='order',
            name='settled_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='order',
            name='status_machine',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='order',
            name='touched',
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='order',
            trigger=pgtrigger.compiler.Trigger(name='status_machine', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."status" IS DISTINCT FROM (NEW."status"))', declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{placed:cancelled,placed:compensating,placed:processing,processing:cancelled,processing:compensating,processing:failed,processing:fulfilled,processing:inventory_failed,processing:payment_failed,processing:shipping_failed,compensating:cancelled,compensating:failed,compensating:inventory_failed,compensating:payment_failed,compensating:shipping_failed}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='717c672d79c907f19b4b4f1ac6d4347f0f35513f', operation='UPDATE', pgid='pgtrigger_status_machine_17b01', table='orders_order', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='order',
            trigger=pgtrigger.compiler.Trigger(name='ended_before', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (NEW.ended_as IS DISTINCT FROM CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.status ELSE '' END OR NEW.settled_at IS DISTINCT FROM CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.updated_at END)", func="NEW.ended_as = CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.status ELSE '' END; NEW.settled_at = CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.updated_at END; RETURN NEW;", hash='50439669a22f5327b6bacffa98d74a5bf44f81d9', operation='INSERT', pgid='pgtrigger_ended_before_5aa21', table='orders_order', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='order',
            trigger=pgtrigger.compiler.Trigger(name='touched', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (OLD.* IS DISTINCT FROM NEW.* AND (NEW.updated_at IS DISTINCT FROM shop_now() OR NEW.ended_as IS DISTINCT FROM CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.status ELSE '' END OR NEW.settled_at IS DISTINCT FROM CASE WHEN NEW.status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN NEW.updated_at END))", func="\n            UPDATE orders_order SET updated_at = shop_now(), ended_as = CASE WHEN status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN status ELSE '' END, settled_at = CASE WHEN status IN ('fulfilled', 'payment_failed', 'inventory_failed', 'shipping_failed', 'failed', 'cancelled') THEN shop_now() END\n            WHERE id = NEW.id;\n            RETURN NULL;\n        ", hash='a7368960b648c1077775b0f962bb2718e03917da', operation='UPDATE', pgid='pgtrigger_touched_69eee', table='orders_order', when='AFTER')),
        ),
    ]
