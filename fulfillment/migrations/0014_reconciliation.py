from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("fulfillment", "0013_retry_batches"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("at_work", "At work"),
                            ("whole", "Everything was compared"),
                            ("in_part", "Some orders could not be compared"),
                            ("failed", "It did not come to its end"),
                        ],
                        max_length=10,
                    ),
                ),
                ("told", models.CharField(blank=True, max_length=300)),
                ("findings", models.PositiveIntegerField(default=0)),
                ("unexplained", models.JSONField(default=dict)),
                ("compared_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
