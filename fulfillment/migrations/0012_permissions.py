from django.db import migrations


class Migration(migrations.Migration):
    """Names of permissions; no table changes."""

    dependencies = [
        ('fulfillment', '0011_stock_movements'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='circuit',
            options={'permissions': [('hold_circuit', 'Can hold a circuit open'), ('release_circuit', 'Can release a circuit')]},
        ),
        migrations.AlterModelOptions(
            name='saga',
            options={'permissions': [('decide_retry_now', 'Can decide: retry now'), ('decide_retry', 'Can decide: retry'), ('decide_look_up', 'Can decide: look up'), ('decide_it_happened', 'Can decide: it happened'), ('decide_it_did_not', 'Can decide: it did not'), ('decide_start_undo', 'Can decide: start undo'), ('decide_undone_by_hand', 'Can decide: undone by hand'), ('decide_skip', 'Can decide: skip'), ('decide_close', 'Can decide: close'), ('decide_assign', 'Can decide: assign'), ('decide_snooze', 'Can decide: snooze'), ('decide_note', 'Can decide: note')]},
        ),
    ]
