from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # orders go on while the index is built

    dependencies = [
        ('fulfillment', '0001_initial'),
        ('orders', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='saga',
            name='history_pruned_at',
            field=models.DateTimeField(null=True),
        ),
        AddIndexConcurrently(
            model_name='saga',
            index=models.Index(condition=models.Q(('closed_at__isnull', False), ('history_pruned_at', None)), fields=['closed_at', 'id'], name='saga_with_history'),
        ),
    ]
