"""What somebody would write who has Django REST framework and no saga: a view that creates an order with ``ModelSerializer``, in one transaction. It writes the
rows that the shop writes for an order, into the same tables of a database of its own, and does nothing else: no idempotency, no outbox, no chain, no limit.
"""
