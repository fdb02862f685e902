"""Django and Celery as their documentation shows them: one task for each step, the ORM, results in Valkey. It loses an order at the first crash.

Tuned: the same tasks with every setting that makes them cheaper, and none that makes them safer.
"""
