import django.db.models.deletion
from django.db import migrations, models

# What the first release has recorded becomes facts without names and addresses; every one of them has its delivery rows already.
COPY = """
LOCK TABLE sideeffects_event, sideeffects_delivery IN ACCESS EXCLUSIVE MODE;
CREATE FUNCTION sideeffects_without_names(payload jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT payload - 'email' - 'name' || jsonb_build_object('lines', (SELECT jsonb_agg(line - 'name') FROM jsonb_array_elements(payload->'lines') line))
$$;
INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at, number, relayed_at)
    SELECT id, order_id, type, 2, correlation_id, sideeffects_without_names(payload), at, row_number() OVER (ORDER BY at, id), at FROM sideeffects_event;
INSERT INTO sideeffects_subscriber (name, starts_at, state, release)
    SELECT d.subscriber, min(f.number), 'active', 0 FROM sideeffects_delivery d JOIN orders_fact f ON f.id = d.event_id GROUP BY 1;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""
# A worker of the first release that completes an order during the deploy writes an event and its deliveries: they arrive as a fact and its deliveries.
VIEW = """
CREATE VIEW sideeffects_event AS SELECT id, order_id, type, version, correlation_id, payload, at FROM orders_fact;
CREATE FUNCTION sideeffects_event_is_a_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.at := coalesce(NEW.at, shop_now());
    INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
        VALUES (NEW.id, NEW.order_id, NEW.type, 2, NEW.correlation_id, sideeffects_without_names(NEW.payload), NEW.at);
    RETURN NEW;
END
$$;
CREATE TRIGGER is_a_fact INSTEAD OF INSERT ON sideeffects_event FOR EACH ROW EXECUTE FUNCTION sideeffects_event_is_a_fact();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0006_facts'),
        ('sideeffects', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='RelayBeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Subscriber',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('starts_at', models.BigIntegerField()),
                ('state', models.CharField(choices=[('active', 'Active'), ('removed', 'Removed')], default='active', max_length=10)),
                ('release', models.PositiveIntegerField()),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.RunSQL(COPY),
        migrations.AlterField(
            model_name='delivery',
            name='event',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='orders.fact'),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(model_name='delivery', name='delivery_once_per_subscriber'),
                migrations.RenameField(model_name='delivery', old_name='event', new_name='fact'),
                migrations.AlterField(
                    model_name='delivery',
                    name='fact',
                    field=models.ForeignKey(db_column='event_id', on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='orders.fact'),
                ),
                migrations.AddConstraint(
                    model_name='delivery',
                    constraint=models.UniqueConstraint(fields=('fact', 'subscriber'), name='delivery_once_per_subscriber'),
                ),
            ],
        ),
        migrations.DeleteModel(name='Event'),
        migrations.RunSQL(VIEW),
        migrations.AddField(
            model_name='delivery',
            name='launched_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='state',
            field=models.CharField(choices=[('pending', 'Pending'), ('started', 'Started'), ('retry_wait', 'Waiting to retry'), ('delivered', 'Delivered'), ('dead', 'Dead letter'), ('held', 'Held: its subscriber was removed'), ('discarded', 'Discarded by a person')], default='pending', max_length=12),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('launched_at__isnull', False)), fields=['launched_at', 'id'], name='delivery_launched'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ['dead', 'held'])), fields=['subscriber'], name='delivery_for_a_person'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['pending', 'started', 'retry_wait']), _negated=True), ('wake_at__isnull', False), ('launched_at__isnull', False), _connector='OR'), name='delivery_open_is_looked_at'),
        ),
    ]
