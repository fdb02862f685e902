"""What an API client has chosen for its orders. A client without a row has chosen nothing."""

from typing import ClassVar

from django.conf import settings
from django.db import connection, models

# A row only where the client wants it; then the lock is taken too, and kept until the transaction ends. What looks for the reference is the next statement:
# this one's snapshot is older than the lock.
LOCK_REFERENCE = """
SELECT pg_advisory_xact_lock(hashtextextended(%s, 0)) FROM orders_clientsettings WHERE client_id = %s AND unique_references
"""


class ClientSettings(models.Model):
    """``unique_references``: each ``reference`` of this client stands for one order; orders from before it was set count, whatever became of them."""

    client = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="shop_settings")
    unique_references = models.BooleanField(default=False, help_text="A second order under a reference is refused.")

    class Meta:
        verbose_name: ClassVar = "API client"

    def __str__(self) -> str:
        return str(self.client)


def lock_reference(client_id: int, reference: str) -> bool:
    """Whether the client wants this reference to be unique. If so nobody else places an order under it until the current transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_REFERENCE, [f"orders:reference:{client_id}:{reference}", client_id])
        return cursor.fetchone() is not None
