"""Which cases: pairwise (every two values that can meet, meet in a case), then the richest of the rest up to a number; or all; or those of a pattern."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import combinations

from config.proving.cases import Case

AT_LEAST = 160

Tuple = tuple[tuple[str, object], ...]


def values(case: Case) -> Tuple:
    return (("boundary", case.boundary), ("target", case.target), ("fault", case.fault), ("action", case.action))


def tuples_of(case: Case, size: int) -> set[Tuple]:
    return set(combinations(values(case), size))


def pairwise(cases: Sequence[Case], at_least: int = AT_LEAST) -> list[Case]:
    """Greedy, and the same for the same cases: until all pairs are covered; then, up to ``at_least``, whatever adds the most triples."""
    chosen = _cover(cases, lambda case: tuples_of(case, 2), limit=len(cases))
    rest = [case for case in cases if case not in set(chosen)]
    covered = set().union(*(tuples_of(case, 3) for case in chosen)) if chosen else set()
    more = _cover(rest, lambda case: tuples_of(case, 3) - covered, limit=max(0, at_least - len(chosen)))
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


def matching(cases: Iterable[Case], pattern: str) -> list[Case]:
    """By a part of the name, or by a glob on all of it."""
    is_glob = any(sign in pattern for sign in "*?[")
    return [case for case in cases if (fnmatchcase(case.name, pattern) if is_glob else pattern in case.name)]


def spread(cases: Sequence[Case]) -> list[Case]:
    """The order to run them in: ways to die take turns, so that whole workers do not die all at once."""
    by_action: dict[str, list[Case]] = {}
    for case in cases:
        by_action.setdefault(case.action, []).append(case)
    weighed = [((place + 0.5) / len(queue), case.action, case) for queue in by_action.values() for place, case in enumerate(queue)]
    return [case for *_, case in sorted(weighed, key=lambda entry: entry[:2])]
