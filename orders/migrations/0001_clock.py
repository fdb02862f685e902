"""The one clock and the order numbers, before any table that uses them."""

from typing import ClassVar

from django.db import migrations

SHOP_NOW = """
CREATE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN coalesce(nullif(current_setting('shop.now', true), '')::timestamptz, now())
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.RunSQL(SHOP_NOW, "DROP FUNCTION shop_now()"),
        migrations.RunSQL("CREATE SEQUENCE orders_order_number START 1001", "DROP SEQUENCE orders_order_number"),
    ]
