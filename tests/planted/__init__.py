"""Bugs planted by hand, and what sees them (mutation testing of the tests): ``python -m tests.planted``. Tests that find nothing wrong with them would prove nothing."""
