from django.db import migrations, models


class Migration(migrations.Migration):
    """A constant default: no row is rewritten. Sagas from before, and those that an older release opens beside this one, keep their keys without a nonce."""

    dependencies = [
        ("fulfillment", "0008_failed_step"),
    ]

    operations = [
        migrations.AddField(
            model_name="saga",
            name="nonce",
            field=models.CharField(blank=True, db_default="", default="", max_length=10),
        ),
    ]
