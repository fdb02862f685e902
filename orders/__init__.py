"""The data of an order: models, history, incidents, outbox, money, clock. Its entry points ``api``, ``admin`` and ``management`` are for clients and operators.

Only the entry points import ``fulfillment`` and ``sideeffects``; the other modules import neither. Nothing here imports ``config`` or Celery.
Never change: the engine alone moves the status of an order that was placed; rows of history and outbox are only added.
"""
