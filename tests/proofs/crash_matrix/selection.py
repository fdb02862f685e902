"""Which cases: pairwise (every two values that can meet, meet in a case), then the richest of the rest up to a number; or all; or those of a pattern."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import combinations

from tests.proofs.crash_matrix.cases import Case

AT_LEAST = 190

Tuple = tuple[tuple[str, object], ...]


def values(case: Case) -> Tuple:
    return (("boundary", case.boundary), ("target", case.target), ("fault", case.fault), ("action", case.action))


def tuples_of(case: Case, size: int) -> set[Tuple]:
    return set(combinations(values(case), size))


def pairwise(cases: Sequence[Case]) -> list[Case]:
    """Greedy, and the same for the same cases: until all pairs are covered; then, up to ``AT_LEAST``, whatever adds the most triples."""
    chosen = _cover(cases, lambda case: tuples_of(case, 2), limit=len(cases))
    rest = [case for case in cases if case not in set(chosen)]
    covered = set().union(*(tuples_of(case, 3) for case in chosen)) if chosen else set()
    more = _cover(rest, lambda case: tuples_of(case, 3) - covered, limit=max(0, AT_LEAST - len(chosen)))
    picked = set(chosen) | set(more)
    return [case for case in cases if case in picked]


def _cover(cases: Sequence[Case], covers: Callable[[Case], set[Tuple]], limit: int) -> list[Case]:
    open_tuples = set().union(*(covers(case) for case in cases)) if cases else set()
    left = {case: covers(case) for case in cases}
    chosen: list[Case] = []
    while open_tuples and left and len(chosen) < limit:
        best = max(left, key=lambda case: len(left[case] & open_tuples))
        open_tuples -= left.pop(best)
        chosen.append(best)
    return chosen


def matching(cases: Iterable[Case], patterns: Sequence[str]) -> list[Case]:
    """Those that fit any of the patterns; a whole name fits itself alone."""
    known = list(cases)
    whole = {case.name for case in known}.intersection(patterns)
    return [case for case in known if case.name in whole or any(_fits(case.name, pattern) for pattern in patterns if pattern not in whole)]


def _fits(name: str, pattern: str) -> bool:
    """By a part of the name, or by a glob on all of it."""
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def spread(cases: Sequence[Case]) -> list[Case]:
    """The order to run them in: the same every time, and unrelated to what they are, so that the same process does not die many times in a row."""
    return sorted(cases, key=lambda case: hashlib.sha256(case.name.encode()).digest())
