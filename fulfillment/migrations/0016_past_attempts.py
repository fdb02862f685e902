import django.db.models.deletion
from django.db import migrations, models

# Compensations that wait for a person because they were refused, before that was noted: their history says so. What a provider has answered otherwise, or what ran
# out of tries, keeps its key.
REFUSED = """
UPDATE fulfillment_steprecord AS r SET compensation_refused_at = coalesce(r.outcome_at, shop_now()) FROM fulfillment_saga AS s
WHERE s.id = r.saga_id AND s.state IN ('running', 'compensating', 'needs_attention') AND r.state = 'compensation_failed'
    AND r.error_code NOT IN ('watched_in_vain', 'money_remains', 'other_currency', 'unusable_amount', 'gave_back_too_much')
    AND (
        SELECT t.from_state = 'compensation_started' FROM orders_timelineentry AS t
        WHERE t.order_id = s.order_id AND t.kind = 'step' AND t.name = r.name AND t.to_state = 'compensation_failed' ORDER BY t.id DESC LIMIT 1
    )
"""


class Migration(migrations.Migration):
    """Columns with constant defaults, and a new table: an older release beside this one goes on, and asks again under the key that was refused, as it always has."""

    dependencies = [
        ("fulfillment", "0015_open_sagas"),
    ]

    operations = [
        migrations.AddField(
            model_name="steprecord",
            name="do_attempt",
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="steprecord",
            name="compensation_refused_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="PastAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("compensating", models.BooleanField()),
                ("attempt", models.PositiveSmallIntegerField()),
                ("key", models.CharField(max_length=86)),
                ("amount_minor", models.BigIntegerField(null=True)),
                ("refused_at", models.DateTimeField(null=True)),
                ("code", models.CharField(blank=True, max_length=60)),
                ("message", models.CharField(blank=True, max_length=300)),
                ("started_at", models.DateTimeField(null=True)),
                ("asked_until", models.DateTimeField(null=True)),
                (
                    "record",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="past_attempts", to="fulfillment.steprecord"
                    ),
                ),
            ],
            options={
                "ordering": ["attempt"],
                "constraints": [models.UniqueConstraint(fields=("record", "compensating", "attempt"), name="past_attempt_once")],
            },
        ),
        migrations.RunSQL(REFUSED, migrations.RunSQL.noop),
    ]
