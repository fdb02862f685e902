"""Bugs planted by hand, and what sees them (mutation testing): ``python -m tests.planted``. A test suite that finds nothing wrong with them would prove nothing."""
