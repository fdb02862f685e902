"""A fact is updated once, when it gets its number. With room in its page the log has what has changed, and not the whole row again; and no index lists it before."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0004_history_rows'),
    ]

    operations = [
        migrations.RunSQL('ALTER TABLE orders_fact SET (fillfactor = 50)', 'ALTER TABLE orders_fact SET (fillfactor = 90)'),
        migrations.RemoveIndex(
            model_name='fact',
            name='fact_not_relayed',
        ),
        migrations.AddIndex(
            model_name='fact',
            index=models.Index(condition=models.Q(('number__isnull', False), ('relayed_at__isnull', True)), fields=['number'], name='fact_to_relay'),
        ),
    ]
