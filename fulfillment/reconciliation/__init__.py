"""Reconciliation: the invariants of docs/semantics.md are checked on live data, and the journal is compared with what the providers list (docs/reconcile.md).

Read ``run`` first. ``money``, ``parcels`` and ``journal`` hold the rules about an order, ``shop_rules`` those about the shop. ``orders_at_rest`` and ``shop``
apply them.
"""

from fulfillment.reconciliation.finding import Finding, Report, Rule
from fulfillment.reconciliation.run import reconcile

__all__ = ["Finding", "Report", "Rule", "reconcile"]
