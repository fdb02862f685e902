from django.db import migrations, models


class Migration(migrations.Migration):
    """Code of the release before inserts incidents without the column: each is one."""

    dependencies = [
        ("orders", "0016_operators"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="count",
            field=models.PositiveIntegerField(db_default=1),
        ),
    ]
