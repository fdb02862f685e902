"""Storms (``manage.py storm``): hundreds of orders under one kind of harm, on a stack of real processes, each with counts and a verdict.

``scenarios`` says what happens, one file each; ``storm`` is one run of one of them; ``judging`` says whether it held; ``showing`` tells. Everything is done and seen
from outside (``tests.proofs.black_box.shop``): through the API, the provider's ledger, plain SQL and signals.
"""
