"""The crash matrix (``manage.py prove``): fault injection case by case. Real workers die, hang and are lied to at every boundary, and each order is judged.

``cases`` says what there is to prove, ``selection`` which of it, ``script`` how an order gets to its boundary; ``stack``, ``rabbitmq`` and ``proxy`` are where
it happens, ``testbed`` is what all cases share; ``matrix`` runs each as an ``experiment``: ``injection`` arms its faults, ``placement`` places its order, ``people``
cancel and decide, ``invariants`` says whether it held; ``record`` and ``report`` keep and show each ``outcome``.
"""
