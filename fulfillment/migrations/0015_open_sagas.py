from django.db import migrations, models


class Migration(migrations.Migration):
    """Built beside the orders that are placed meanwhile. One that was interrupted leaves an index that is not valid: the next run drops it first."""

    atomic = False

    dependencies = [
        ("fulfillment", "0014_reconciliation"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    model_name="saga",
                    index=models.Index(
                        condition=models.Q(state__in=["running", "compensating", "needs_attention"]),
                        fields=["state", "opened_at"],
                        name="saga_open",
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    [
                        "DROP INDEX CONCURRENTLY IF EXISTS saga_open",
                        "CREATE INDEX CONCURRENTLY saga_open ON fulfillment_saga (state, opened_at) WHERE state IN ('running', 'compensating', 'needs_attention')",
                    ],
                    "DROP INDEX CONCURRENTLY IF EXISTS saga_open",
                )
            ],
        ),
    ]
