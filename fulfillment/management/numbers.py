"""Numbers on a command line: a number that makes no sense is refused, with a sentence that names its option."""

import sys
from argparse import ArgumentTypeError

# The slowest is one in a quarter of an hour: below that the next instant comes after the end of all calendars.
SLOWEST_PER_S, FASTEST_PER_S = 0.001, 1000.0


def above_zero(text: str, most: float = sys.float_info.max) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise ArgumentTypeError(f"{text!r} is not a number above 0" + (f", at most {most:g}" if most < sys.float_info.max else ""))
    return number


def rate(text: str) -> float:
    """A rate: so many a second."""
    if (number := above_zero(text, most=FASTEST_PER_S)) < SLOWEST_PER_S:
        raise ArgumentTypeError(f"{text!r} is no rate: at least {SLOWEST_PER_S:g} a second")
    return number


def at_least_one(text: str) -> int:
    """A whole number: 1, 2, 3, …"""
    if (number := _whole(text)) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def at_least_zero(text: str) -> int:
    """A whole number: 0, 1, 2, …"""
    if (number := _whole(text)) < 0:
        raise ArgumentTypeError(f"{text!r} is neither 0 nor a whole number above it")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1
