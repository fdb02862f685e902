"""What must hold once everything is at rest (docs/semantics.md, invariants), checked on live data and against the providers' listings (docs/reconcile.md).

Read ``reconciling`` first; ``money``, ``parcels``, ``journal`` and ``whole`` hold the rules, ``repair`` undoes what landed late.
"""

from fulfillment.reconciliation.finding import Finding, Report, Rule
from fulfillment.reconciliation.run import reconcile

__all__ = ["Finding", "Report", "Rule", "reconcile"]
