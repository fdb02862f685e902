"""The REST API: it places, shows and cancels the orders of a client (docs/api.md).

It may import the rest of ``orders``, ``fulfillment`` and ``sideeffects``; neither ``admin`` nor ``management``, nor ``config`` or Celery.
Never change: what a field or a code of an answer means. Clients have stored them, and an idempotency key stays on its order for ever.
"""
