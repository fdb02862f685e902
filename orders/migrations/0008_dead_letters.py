from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0007_quarantined'),
    ]

    operations = [
        migrations.AlterField(
            model_name='incident',
            name='kind',
            field=models.CharField(choices=[('compensation_exhausted', 'An undo could not be completed'), ('in_doubt', 'Nobody can tell whether it happened'), ('stuck', 'It does not get on'), ('quarantined', 'No process can work on it'), ('unknown_step', 'This code does not know a step of its plan'), ('orphan_payment', 'The provider holds what nobody owns'), ('mismatch', 'Journal and provider disagree'), ('dead_letter', 'Side effects wait for a person')], max_length=30),
        ),
    ]
