"""The operators' interface: what they see is the journal, and all they can do to an order is press two safe buttons."""

from orders.admin.catalogue import ProductAdmin
from orders.admin.clients import ClientSettingsAdmin
from orders.admin.orders import OrderAdmin
from orders.admin.stock import StockLevelAdmin, StockMovementAdmin

__all__ = ["ClientSettingsAdmin", "OrderAdmin", "ProductAdmin", "StockLevelAdmin", "StockMovementAdmin"]
