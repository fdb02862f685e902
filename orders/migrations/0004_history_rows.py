"""The history has a row for each transition, and a view shows its entries, under the name that the table had: old code goes on reading and writing entries by it."""

import django.db.models.deletion
import orders.clock
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# Ids lie four apart: the entries of one row have ids of their own (orders/timeline.py).
ROWS = """
ALTER TABLE orders_timelineentry RENAME TO orders_history;
ALTER INDEX orders_timelineentry_pkey RENAME TO orders_history_pkey;
ALTER SEQUENCE orders_timelineentry_id_seq RENAME TO orders_history_id_seq;
ALTER TABLE orders_history ALTER COLUMN id SET INCREMENT BY 4
"""
# ``about``: the column of the row that says which step an entry is about. A state that is NULL is that of the row.
ENTRIES = """
CREATE VIEW orders_timelineentry AS
SELECT
    written.id + coalesce(entry.place, 0) AS id, written.order_id, written.at, coalesce(entry.kind, written.kind) AS kind,
    CASE coalesce(entry.about, 'name') WHEN 'name' THEN written.name WHEN 'code' THEN written.code ELSE '' END AS name,
    coalesce(entry.from_state, written.from_state) AS from_state, coalesce(entry.to_state, written.to_state) AS to_state, written.epoch,
    CASE WHEN entry.kind IS NULL THEN written.code ELSE '' END AS code, written.detail,
    CASE WHEN entry.kind IS NULL OR entry.kind = 'order' THEN written.actor ELSE '' END AS actor
FROM orders_history AS written
LEFT JOIN (VALUES
    ('opened', 0, 'order', '', '', 'placed'),
    ('opened', 1, 'saga', '', '', 'running'),
    ('opened', 2, 'step', 'name', 'pending', 'scheduled'),
    ('begun', 0, 'step', 'name', NULL, NULL),
    ('begun', 1, 'order', '', 'placed', 'processing'),
    ('handed_on', 0, 'step', 'name', NULL, 'succeeded'),
    ('handed_on', 1, 'step', 'code', 'pending', 'scheduled'),
    ('fulfilled', 0, 'step', 'name', 'started', 'succeeded'),
    ('fulfilled', 1, 'saga', '', 'running', 'completed'),
    ('fulfilled', 2, 'order', '', 'processing', 'fulfilled')
) AS entry (row, place, kind, about, from_state, to_state) ON entry.row = written.kind
"""
# What old code inserts is a row.
OLD_CODE = """
ALTER VIEW orders_timelineentry ALTER COLUMN at SET DEFAULT shop_now();
CREATE FUNCTION orders_entry_is_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO orders_history (order_id, at, kind, name, from_state, to_state, epoch, code, detail, actor)
    VALUES (NEW.order_id, NEW.at, NEW.kind, coalesce(NEW.name, ''), coalesce(NEW.from_state, ''), coalesce(NEW.to_state, ''), coalesce(NEW.epoch, 0),
        coalesce(NEW.code, ''), coalesce(NEW.detail, '{}'), coalesce(NEW.actor, ''))
    RETURNING id INTO NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER entry_is_written INSTEAD OF INSERT ON orders_timelineentry FOR EACH ROW EXECUTE FUNCTION orders_entry_is_written()
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0003_order_indexes'),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='timelineentry',
            name='append_only',
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ROWS), migrations.RunSQL(ENTRIES), migrations.RunSQL(OLD_CODE)],
            state_operations=[
                migrations.AlterModelOptions(
                    name='timelineentry',
                    options={'managed': False, 'ordering': ['id'], 'verbose_name_plural': 'timeline entries'},
                ),
                migrations.CreateModel(
                    name='HistoryRow',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                        ('kind', models.CharField(choices=[('order', 'order'), ('saga', 'saga'), ('step', 'step'), ('take_over', 'taken over'), ('relaunch', 'message published again'), ('left', 'left to another release'), ('held', 'held'), ('late', 'came too late'), ('cancel', 'cancel'), ('operator', 'operator'), ('incident', 'incident'), ('delivery', 'side effect')], max_length=12)),
                        ('name', models.CharField(blank=True, db_default='', default='', max_length=40)),
                        ('from_state', models.CharField(blank=True, db_default='', default='', max_length=30)),
                        ('to_state', models.CharField(blank=True, db_default='', default='', max_length=30)),
                        ('epoch', models.PositiveIntegerField(db_default=0, default=0)),
                        ('code', models.CharField(blank=True, db_default='', default='', max_length=60)),
                        ('detail', models.JSONField(db_default={}, default=dict)),
                        ('actor', models.CharField(blank=True, db_default='', default='', max_length=80)),
                        ('order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orders.order')),
                    ],
                    options={
                        'db_table': 'orders_history',
                        'ordering': ['id'],
                    },
                ),
            ],
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='historyrow',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='85c1980405b74a240c471bd189f06887e442ee39', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_05359', table='orders_history', when='BEFORE')),
        ),
    ]
