"""How long the API takes, measured on a whole shop of its own: ``python -m tests.bench accept``, ``python -m tests.bench disturbed``.

A figure is worth something beside another one of the same run, so each show compares. No test asserts a time: a machine is never alone.
"""
