"""After a test that commits: the tables in which something stands are emptied, and no others.

Django's own flush rebuilds every table with its indexes, and all permissions, after each such test.
"""

from typing import Any

from django.db import connection

MADE_BY_MIGRATE = {"django_content_type", "auth_permission"}  # they stay as they are


def empty(*_: Any) -> None:
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - MADE_BY_MIGRATE)
    filled = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(filled)
        if names := [name for (name,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")
