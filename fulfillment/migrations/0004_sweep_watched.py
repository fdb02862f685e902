"""The sweep says for how long it has seen the database's clock go as it should. NULL: it has not said so yet."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("fulfillment", "0003_due_from_after_the_update")]

    operations: ClassVar = [
        migrations.AddField(model_name="sweepheartbeat", name="watched_from", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="sweepheartbeat", name="watched_until", field=models.DateTimeField(null=True)),
    ]
