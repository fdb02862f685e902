import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('orders', '0001_initial'),
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
                ('failed_probes', models.PositiveIntegerField(default=0)),
                ('probe', models.BigIntegerField(null=True)),
                ('probe_until', models.DateTimeField(null=True)),
                ('wakes', models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name='RelayHeartbeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Subscriber',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('starts_at', models.BigIntegerField()),
                ('state', models.CharField(choices=[('active', 'Active'), ('removed', 'Removed')], default='active', max_length=10)),
                ('release', models.PositiveIntegerField()),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subscriber', models.CharField(max_length=40)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('started', 'Started'), ('retry_wait', 'Waiting to retry'), ('delivered', 'Delivered'), ('dead', 'Dead letter'), ('held', 'Held: its subscriber was removed'), ('discarded', 'Discarded by a person')], db_default='pending', default='pending', max_length=12)),
                ('tries', models.PositiveIntegerField(db_default=0, default=0)),
                ('relaunches', models.PositiveIntegerField(db_default=0, default=0)),
                ('unspent', models.PositiveIntegerField(db_default=0, default=0)),
                ('failing_since', models.DateTimeField(null=True)),
                ('wake_at', models.DateTimeField(null=True)),
                ('launched_at', models.DateTimeField(null=True)),
                ('claim', models.UUIDField(null=True)),
                ('error_code', models.CharField(blank=True, db_default='', default='', max_length=60)),
                ('error_message', models.CharField(blank=True, db_default='', default='', max_length=300)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('fact', models.ForeignKey(db_column='event_id', db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='orders.fact')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ['subscriber'],
                'permissions': [('replay_delivery', 'Can replay dead letters'), ('discard_delivery', 'Can discard deliveries')],
                'indexes': [models.Index(condition=models.Q(('wake_at__isnull', False)), fields=['wake_at', 'id'], name='delivery_due'), models.Index(condition=models.Q(('launched_at__isnull', False)), fields=['launched_at', 'id'], name='delivery_launched'), models.Index(condition=models.Q(('state__in', ['dead', 'held'])), fields=['subscriber'], name='delivery_for_a_person'), models.Index(condition=models.Q(('failing_since__isnull', False)), fields=['failing_since'], name='delivery_failing')],
                'constraints': [models.UniqueConstraint(fields=('fact', 'subscriber'), name='delivery_once_per_subscriber'), models.CheckConstraint(condition=models.Q(models.Q(('state__in', ('pending', 'started', 'retry_wait')), _negated=True), ('wake_at__isnull', False), ('launched_at__isnull', False), _connector='OR'), name='delivery_open_has_a_time')],
            },
        ),
    ]
