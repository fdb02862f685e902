"""Erasure of a customer from the rows of the side effects: what each subscriber keeps."""

from collections import Counter

from sideeffects import discovery


def erase_address(email: str, *, write: bool) -> Counter[str]:
    """By subscriber, how many of its rows belong to this address: each does it itself, with the function ``erase`` of its ``subscriber.py``."""
    return +Counter({name: erase(email, write) for name, erase in discovery.functions("erase").items()})
