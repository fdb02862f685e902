"""Whether a SECRET_KEY can be guessed. Whoever knows it writes sessions of operators."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

SHORTEST, FEWEST_DIFFERENT = 50, 12  # a key of hexadecimal digits has up to 16 different ones
PLACEHOLDERS = ("secret", "insecure", "changeme", "change-me", "change_me", "replace", "example", "placeholder", "password", "default")
LIKE_A_PATTERN = 1 / 3  # of its neighbours are equally far apart: aaaa, abcd, 9753


def weakness(key: str, of_the_demo: Path) -> str:
    """In words that follow "SECRET_KEY"; empty: it has none that can be seen. ``of_the_demo``: the file of the key that ``make up`` has made."""
    if len(key) < SHORTEST:
        return f"has {len(key)} characters"
    if found := next((word for word in PLACEHOLDERS if word in key.lower()), None):
        return f"is a placeholder: it contains {found!r}"
    if len(set(key)) < FEWEST_DIFFERENT or _repeats(key) or _follows_a_pattern(key):
        return "is not random: its characters repeat or follow each other"
    if of_the_demo.is_file() and of_the_demo.read_text().strip() == key:
        return "is the one of the demo in this folder"
    return ""


def _repeats(key: str) -> bool:
    """Half of its pairs of neighbours have stood there before."""
    pairs = list(pairwise(key))
    return len(set(pairs)) <= len(pairs) / 2


def _follows_a_pattern(key: str) -> bool:
    steps = Counter(ord(second) - ord(first) for first, second in pairwise(key))
    return max(steps.values()) > len(key) * LIKE_A_PATTERN
