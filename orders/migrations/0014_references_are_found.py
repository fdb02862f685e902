from django.db import migrations, models


class Migration(migrations.Migration):
    """Built beside the orders that are placed meanwhile. One that was interrupted leaves an index that is not valid: the next run drops it first."""

    atomic = False

    dependencies = [
        ("orders", "0013_same_order"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    model_name="order",
                    index=models.Index(
                        condition=models.Q(("reference", ""), _negated=True),
                        fields=["client", "reference", "id"],
                        name="order_client_reference",
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    [
                        "DROP INDEX CONCURRENTLY IF EXISTS order_client_reference",
                        """
                        CREATE INDEX CONCURRENTLY order_client_reference ON orders_order (client_id, reference, id)
                        WHERE NOT (reference = '')
                        """,
                    ],
                    "DROP INDEX CONCURRENTLY IF EXISTS order_client_reference",
                )
            ],
        ),
    ]
