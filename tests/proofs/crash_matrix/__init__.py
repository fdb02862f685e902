"""The crash matrix (``manage.py prove``): real workers die, hang and are lied to at every boundary, and each order is judged afterwards.

``cases`` says what there is to prove, ``selection`` which of it, ``story`` how an order gets to its boundary; ``stack``, ``rabbitmq`` and ``proxy`` are where
it happens; ``placing`` and ``trial`` do it, ``judging`` says whether it held, ``record`` and ``showing`` tell.
"""
