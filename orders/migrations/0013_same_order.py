import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns with a constant default and a new table: no row is rewritten, and old code inserts as before."""

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("orders", "0012_unserved_queues"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClientSettings",
            fields=[
                (
                    "client",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="shop_settings",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("unique_references", models.BooleanField(default=False, help_text="A second order under a reference is refused.")),
            ],
            options={"verbose_name_plural": "client settings"},
        ),
        migrations.AddField(
            model_name="order",
            name="digest",
            field=models.CharField(blank=True, db_default="", max_length=64),
        ),
        migrations.AddField(
            model_name="order",
            name="digest_version",
            field=models.PositiveSmallIntegerField(db_default=1),
        ),
    ]
