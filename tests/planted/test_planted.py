"""Promise: bugs that are planted where tests were blind once are seen; here two of them, all by ``python -m tests.planted``."""

from collections import Counter

import pytest

from tests.engines import ROOT
from tests.planted.bug import MONEY, PEOPLE, STRANGERS, TESTS, Bug
from tests.planted.bugs import BUGS
from tests.planted.planting import ask, copied


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.name))
def test_a_bug_can_still_be_planted(bug: Bug) -> None:
    """What it replaces stands where it says, once, so the list does not rot."""
    assert (ROOT / bug.file).read_text().count(bug.search) == 1
    assert bug.search != bug.replace


def test_there_are_five_in_each_blindness_and_twenty_two_that_came_later() -> None:
    assert len({bug.name for bug in BUGS}) == 42
    first = Counter(bug.blindness for bug in BUGS if not bug.is_later)
    later = Counter(bug.blindness for bug in BUGS if bug.is_later)
    assert set(first.values()) == {5}
    assert sum(later[place] for place in (MONEY, PEOPLE, STRANGERS)) == 12
    assert set(first | later) == set(TESTS)
    assert [name for names in TESTS.values() for name in names if not (ROOT / name).exists()] == []


@pytest.mark.timeout(120)
def test_what_is_planted_is_seen_and_what_is_sound_is_not() -> None:
    """The runner itself: two bugs, each asked by one file that sees it; and one that sees nothing of it."""
    first = next(bug for bug in BUGS if bug.file == "orders/turns.py")
    second = next(bug for bug in BUGS if bug.file == "orders/lowwater.py")
    with copied() as tree:
        seen = ask(first, tree, ("tests/orders/test_two_at_once.py",))
        also = ask(second, tree, ("tests/orders/test_lowwater.py",))
        unseen = ask(first, tree, ("tests/orders/test_lowwater.py",))

    assert seen.by.startswith("tests/orders/test_two_at_once.py::")
    assert also.by.startswith("tests/orders/test_lowwater.py::")
    assert unseen.by == ""
