"""Tests, one folder for each package, and the proofs (docs/development.md#where-tests-stand).

A test may import everything. No package of the shop imports a test, and ``proofs`` imports none either.
Never change: a test that starts a stack or a database owns its folder below ``.run/test``, because another one runs beside it.
"""
