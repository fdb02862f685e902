"""The database backend: Django's own for PostgreSQL, and connections that cannot work any more are closed.

It may import the other modules of ``orders`` that hold data; no entry point, nor ``fulfillment``, ``sideeffects`` or ``config``.
Never change: the names ``orders.postgresql`` and ``base``. The setting ``DATABASES`` names the package, and Django looks for ``base`` in it.
"""
