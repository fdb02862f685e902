"""Findings of the core, for ``manage.py doctor`` and ``/status``: providers, the sweep, orders, incidents, reconciliation. They read, and change nothing."""
