"""Side effects: what reacts to a fulfilled order. ``subscribers`` react, ``relay`` finds who is owed what, ``delivery_try`` delivers.

It may import the modules of ``orders`` that hold data; not ``fulfillment`` or ``config``. Only ``tasks`` imports Celery. No module here names a subscriber.
Never change: no order waits for anything here. A subscriber's name is stored in its deliveries and is part of the name of its task.
"""
