"""The worker's consumer refuses poison messages: whatever their bytes, each is logged once, and the worker lives and goes on.

``orders.messages`` says what is wrong with a message, ``consumer`` asks it before Celery reads the message, ``refusal`` logs. ``valkey`` and ``amqp`` do the
same one level deeper, for what is no message at all. ``request`` keeps the request id of a message for as long as its task is under way. All of it hangs on
kombu 5.7.0 and Celery 5.7.0: ``tests/config/test_poison.py`` shows each kind on a real worker.
"""
