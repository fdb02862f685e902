"""The core: the saga of an order. Steps, the engine that runs them, recovery, reconciliation, gateways to providers, and the provider sandbox.

It may import the modules of ``orders`` that hold data; not the entry points of ``orders``, nor ``sideeffects`` or ``config``. Only ``tasks`` imports Celery.
Never change: ``engine`` alone writes states, the form of a key stays (``keys``), and tasks and columns are renamed only as docs/deploying.md says.
"""
