from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sideeffects', '0003_limit_in_time'),
    ]

    operations = [
        migrations.CreateModel(
            name='Circuit',
            fields=[
                ('subscriber', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('failures', models.JSONField(default=list)),
                ('last_error', models.CharField(blank=True, max_length=120)),
                ('opened_at', models.DateTimeField(null=True)),
                ('next_probe_at', models.DateTimeField(null=True)),
                ('probes', models.PositiveIntegerField(default=0)),
                ('probe', models.BigIntegerField(null=True)),
                ('probe_until', models.DateTimeField(null=True)),
                ('wakes', models.BooleanField(default=False)),
            ],
        ),
    ]
