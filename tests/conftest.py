"""What every test may use; the stack itself stands in ``tests/engines.py``, a plugin, because settings are read before any conftest."""
