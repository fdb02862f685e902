import django.db.models.deletion
import orders.clock
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables and names of permissions: old code goes on as before."""

    dependencies = [
        ('orders', '0015_forgotten_orders'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='order',
            options={'ordering': ['-id'], 'permissions': [('cancel_order', 'Can cancel an order'), ('forget_customer', 'Can have a customer forgotten')]},
        ),
        migrations.CreateModel(
            name='OperatorToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('made_at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('revoked_at', models.DateTimeField(null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='operator_tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='RefusedAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
                ('user', models.BigIntegerField(null=True)),
                ('actor', models.CharField(blank=True, max_length=80)),
                ('verb', models.CharField(max_length=40)),
                ('subject', models.CharField(blank=True, max_length=120)),
                ('sentence', models.CharField(max_length=300)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['subject', 'id'], name='refused_subject')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='refusedattempt',
            trigger=pgtrigger.compiler.Trigger(name='refused_append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='bc3738e03e47f3b05973f30f7714c3d7d85fe994', operation='UPDATE OR DELETE', pgid='pgtrigger_refused_append_only_9d2c8', table='orders_refusedattempt', when='BEFORE')),
        ),
    ]
