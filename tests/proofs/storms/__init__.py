"""Storms (``manage.py storm``): chaos scenarios. Hundreds of orders meet one kind of fault injection, on a stack of real processes, each with counts and a verdict.

``scenarios`` says what happens, one file each, in the terms of ``spec`` and ``scenario``; ``storm`` is one run of one of them; ``invariants`` and ``checks`` say
whether it held; ``report`` shows it. Everything is done and seen from outside (``tests.proofs.black_box``): through the API, the provider's ledger, plain SQL and
signals.
"""
