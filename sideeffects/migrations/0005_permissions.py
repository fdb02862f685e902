from django.db import migrations


class Migration(migrations.Migration):
    """Names of permissions; no table changes."""

    dependencies = [
        ('sideeffects', '0004_circuits'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='delivery',
            options={'ordering': ['subscriber'], 'permissions': [('replay_delivery', 'Can replay dead letters'), ('discard_delivery', 'Can discard deliveries')], 'verbose_name_plural': 'deliveries'},
        ),
    ]
