from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):

    dependencies = [
        ('sideeffects', '0002_facts_and_relay'),
    ]

    operations = [
        migrations.AddField(
            model_name='delivery',
            name='unspent',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='delivery',
            name='failing_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=Q(('failing_since__isnull', False)), fields=['failing_since'], name='delivery_failing'),
        ),
    ]
