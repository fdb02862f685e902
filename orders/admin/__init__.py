"""The operators' face: what they see is the journal, and all they can do is press two safe buttons."""

from orders.admin.catalogue import ProductAdmin, StockLevelAdmin
from orders.admin.clients import ClientSettingsAdmin
from orders.admin.orders import OrderAdmin

__all__ = ["ClientSettingsAdmin", "OrderAdmin", "ProductAdmin", "StockLevelAdmin"]
