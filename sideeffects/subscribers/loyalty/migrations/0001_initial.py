import orders.clock
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('orders', '0001_initial'),  # shop_now()
    ]

    operations = [
        migrations.CreateModel(
            name='Balance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=64)),
                ('points', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='PointsEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=64)),
                ('order_number', models.CharField(max_length=20)),
                ('points', models.BigIntegerField()),
                ('at', models.DateTimeField(db_default=orders.clock.ShopNow())),
            ],
            options={
                'verbose_name_plural': 'points entries',
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='pointsentry',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='9857d5f689fcf4932b75278d5983f3323f4cf09e', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_3e84e', table='sideeffects_loyalty_pointsentry', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='pointsentry',
            index=models.Index(fields=['account'], name='points_of_account'),
        ),
        migrations.AddConstraint(
            model_name='pointsentry',
            constraint=models.UniqueConstraint(fields=('order_number',), name='points_once_per_order'),
        ),
        migrations.AddConstraint(
            model_name='balance',
            constraint=models.UniqueConstraint(fields=('account',), name='balance_once_per_account'),
        ),
    ]
