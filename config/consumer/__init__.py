"""Messages that nobody may handle are refused and logged once, whatever their bytes; the worker lives and goes on.

``faults`` says what is wrong with a message, ``refusal`` how that is told, ``consumer`` asks before Celery reads it. ``valkey`` and ``amqp`` do the same one level
deeper, for what is no message at all. All of it hangs on kombu 5.7.0 and Celery 5.7.0: ``tests/config/test_poison.py`` shows each kind on a real worker.
"""
