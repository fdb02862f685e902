
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0014_references_are_found'),
    ]

    operations = [
        migrations.AlterField(
            model_name='incident',
            name='kind',
            field=models.CharField(choices=[('compensation_exhausted', 'An undo could not be completed'), ('in_doubt', 'Nobody can tell whether it happened'), ('stuck', 'It does not get on'), ('quarantined', 'No process can work on it'), ('unknown_step', 'This code does not know a step of its plan'), ('orphan_payment', 'The provider holds what nobody owns'), ('provider_down', 'A provider does not answer'), ('mismatch', 'Journal and provider disagree, or cannot be compared'), ('dead_letter', 'Side effects wait for a person'), ('crash_loop', 'A process ends again and again'), ('queue_unserved', 'A queue is not served in time'), ('forgotten_orders', 'Providers hold orders that this database has forgotten')], max_length=30),
        ),
    ]
