"""A shop with a million orders, in a folder, for whatever must be measured on one: ``python -m tests.scale FOLDER``.

A few real orders are driven to their ends by the engine; then their rows are copied, a million times, with other numbers, customers and instants.
"""
