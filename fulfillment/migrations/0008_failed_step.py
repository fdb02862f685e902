from django.db import migrations, models


class Migration(migrations.Migration):
    """A constant default: no row is rewritten. What has failed before says so by ``failure`` alone."""

    dependencies = [
        ("fulfillment", "0007_circuits"),
    ]

    operations = [
        migrations.AddField(
            model_name="saga",
            name="failed_step",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
    ]
