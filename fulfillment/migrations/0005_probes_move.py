from django.db import migrations


class Migration(migrations.Migration):
    """The table stays; its model is in orders now."""

    dependencies = [
        ('fulfillment', '0004_releases'),
        ('orders', '0006_facts'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel(name='QueueProbe')]),
    ]
