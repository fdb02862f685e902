from django.db import migrations, models


class Migration(migrations.Migration):
    """Built beside the orders that are placed meanwhile. One that was interrupted leaves an index that is not valid: the next run drops it first."""

    atomic = False

    dependencies = [
        ("orders", "0017_incidents_count"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    model_name="order",
                    index=models.Index(
                        fields=["placed_at"],
                        name="order_placed",
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    [
                        "DROP INDEX CONCURRENTLY IF EXISTS order_placed",
                        "CREATE INDEX CONCURRENTLY order_placed ON orders_order (placed_at)",
                    ],
                    "DROP INDEX CONCURRENTLY IF EXISTS order_placed",
                )
            ],
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    model_name="fact",
                    index=models.Index(
                        fields=["at"],
                        name="fact_at",
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    [
                        "DROP INDEX CONCURRENTLY IF EXISTS fact_at",
                        "CREATE INDEX CONCURRENTLY fact_at ON orders_fact (at)",
                    ],
                    "DROP INDEX CONCURRENTLY IF EXISTS fact_at",
                )
            ],
        ),
    ]
