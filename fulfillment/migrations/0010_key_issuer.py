from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table: nothing that an older release beside this one knows."""

    dependencies = [
        ("fulfillment", "0009_nonce"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyIssuer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=3)),
            ],
        ),
    ]
