"""The history checker, which knows only what clients saw: whatever the shop answered first binds what it answers later.

"Later" is real time, as in linearizability: a request that began after another one had been answered. Requests that overlapped may have been served in either
order. Each order and each key is checked by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.proofs.storms.client_history import Exchange

FAILURES = frozenset({"payment_failed", "inventory_failed", "shipping_failed", "failed", "cancelled"})
MOVES = {  # as docs/semantics.md promises them
    "placed": frozenset({"processing", "compensating", "cancelled"}),
    "processing": frozenset({"fulfilled", "compensating"}) | FAILURES,
    "compensating": FAILURES,
}
PLACED, FOUND, GONE = 201, 200, 404
REFUSED_FOR_GOOD = frozenset(range(400, 500)) - {401, 408, 409, 425, 429}  # an answer that says: not now, ask again, is none of them
AGAINST = {
    "accepted": frozenset({"fulfilled"}),
    "cancelled": (FAILURES | {"fulfilled"}) - {"cancelled"},
    "undoing": frozenset({"fulfilled", "cancelled"}),
    "too_late": frozenset({"cancelled"}),
}


def check(history: Iterable[Exchange]) -> list[str]:
    """A sentence for each answer that did not stay true."""
    ordered = sorted(history, key=lambda one: one.begun)
    return [*_keys(ordered), *_orders(ordered)]


def acknowledged(history: Iterable[Exchange]) -> list[str]:
    """The orders that clients were answered 201 for, in the order in which they heard."""
    return list(dict.fromkeys(one.number for one in history if one.status == PLACED))


# --- one key, one order ----------------------------------------------------------------------------------------------------


def _keys(ordered: Sequence[Exchange]) -> Iterator[str]:
    by_key: dict[str, list[Exchange]] = defaultdict(list)
    for one in ordered:
        if one.method == "POST" and one.key:
            by_key[one.key].append(one)
    owner: dict[str, str] = {}
    for key, asked in by_key.items():
        placed = [one for one in asked if one.status == PLACED]
        numbers, bodies = sorted({one.number for one in placed}), {one.digest for one in placed}
        if len(numbers) > 1:
            yield f"key {key} made {len(numbers)} orders: {', '.join(numbers)}"
        if len(bodies) > 1:
            yield f"key {key} was taken for {len(bodies)} different bodies"
        for number in numbers:
            if owner.setdefault(number, key) != key:
                yield f"{number} was answered to two keys: {owner[number]}, {key}"
        if len(numbers) == 1:
            yield from _answered_differently(key, placed)
        yield from _forgotten(key, asked)


def _answered_differently(key: str, placed: Sequence[Exchange]) -> Iterator[str]:
    """Every answer is the first one to the letter. One of them at most, which no other came before, is not marked as a replay."""
    if (answers := len({one.answer for one in placed})) > 1:
        yield f"key {key} was answered in {answers} ways"
    as_new = [one for one in placed if not one.replayed]
    if len(as_new) > 1 or any(one.begun > earlier.ended for one in as_new for earlier in placed):
        yield f"key {key} had placed its order, and was answered as if it were new"


def _forgotten(key: str, asked: Sequence[Exchange]) -> Iterator[str]:
    for first in asked:
        for again in asked:
            if first.status == PLACED and again.begun > first.ended and again.digest == first.digest and again.status in REFUSED_FOR_GOOD:
                yield f"key {key} placed {first.number}, and the same request was answered {again.status} later"
                return


# --- each order by itself --------------------------------------------------------------------------------------------------


def _orders(ordered: Sequence[Exchange]) -> Iterator[str]:
    by_order: dict[str, list[Exchange]] = defaultdict(list)
    for one in ordered:
        if number := one.number or one.asked_number:
            by_order[number].append(one)
    for number, seen in by_order.items():
        yield from (f"{number}: {what}" for what in (*_lost(seen), *_backwards(seen), *_changed(seen), *_winners(seen)))


def _reads(seen: Sequence[Exchange]) -> list[Exchange]:
    return [one for one in seen if one.method == "GET" and one.status == FOUND]


def _lost(seen: Sequence[Exchange]) -> Iterator[str]:
    """Whoever was answered with it finds it from then on, and somebody has asked."""
    known = [one.ended for one in seen if one.status in (PLACED, FOUND)]
    if not known:
        return
    if any(one.status == GONE and one.begun > min(known) for one in seen):
        yield "it was there, and was answered 404 later"
    acknowledged_at = [one.ended for one in seen if one.status == PLACED]
    if acknowledged_at and not any(read.begun > min(acknowledged_at) for read in _reads(seen)):
        yield "it was answered 201 and never found again"


def _backwards(seen: Sequence[Exchange]) -> Iterator[str]:
    """No status that was seen takes a later one back, and no history becomes shorter."""
    reads = _reads(seen)
    by_end = sorted(reads, key=lambda one: one.ended)
    before: dict[str, None] = {}
    longest, ended = 0, 0
    for read in reads:
        while ended < len(by_end) and by_end[ended].ended < read.begun:
            before[by_end[ended].order_status] = None
            longest = max(longest, by_end[ended].entries or 0)
            ended += 1
        for was in before:
            if not reaches(was, read.order_status):
                yield f"it was {was}, and {read.order_status} later"
                return
        if read.entries is not None and read.entries < longest:
            yield f"its history had {longest} entries, and {read.entries} later"
            return


def reaches(was: str, later: str) -> bool:
    """Whether an order may go there, at once or by way of others."""
    return was == later or any(reaches(step, later) for step in MOVES.get(was, ()))


def _changed(seen: Sequence[Exchange]) -> Iterator[str]:
    totals = {one.total_minor for one in seen if one.total_minor is not None}
    if len(totals) > 1:
        yield f"its total was {' and '.join(map(str, sorted(totals)))}"


def _winners(seen: Sequence[Exchange]) -> Iterator[str]:
    """A cancel that was accepted is honoured, and one that came too late has changed nothing."""
    statuses = {one.order_status for one in _reads(seen)}
    cancels = [one for one in seen if one.cancel]
    answers = {one.cancel for one in cancels}
    for answer in sorted(answers):
        for status in sorted(AGAINST.get(answer, frozenset()) & statuses):
            yield f"its cancel was answered {answer}, and it ended {status}"
    if "too_late" in answers and {"accepted", "cancelled"} & answers:
        yield "one cancel was accepted, and another one was too late"
    for late in cancels:
        if late.cancel == "too_late" and any(read.order_status == "compensating" and read.begun > late.ended for read in _reads(seen)):
            yield "its cancel was too late, and it was being undone later"
            return
