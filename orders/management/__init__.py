"""Commands about orders and users: ``seed`` and ``place_orders`` for a demo, ``operator_token`` for people who decide.

They may import the rest of ``orders``, ``fulfillment`` and ``sideeffects``; neither ``api`` nor ``admin``, nor ``config`` or Celery.
Never change without docs/commands.md and the runbooks: names, options and exit codes.
"""
