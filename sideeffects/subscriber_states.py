"""How far each subscriber is: what it is owed, what waits, and what waits for a person. It reads, and changes nothing."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sideeffects import circuit, dead_letters, discovery, relay
from sideeffects.models import Subscriber


@dataclass(frozen=True, kw_only=True)
class SubscriberLine:
    """``types``: of the events that it is owed, from number ``starts_at`` on. ``waiting``: deliveries that are due or under way, those without a row included.

    ``is_known``: the code that reads this has it. ``release``: the newest code that has recorded it.
    """

    name: str
    state: str
    types: tuple[str, ...]
    starts_at: int
    release: int
    waiting: int
    for_a_person: int
    is_circuit_open: bool
    is_known: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lines() -> list[SubscriberLine]:
    """In four statements, however many deliveries there are."""
    waiting, for_a_person = _counts()
    silent = set(circuit.not_closed().filter(opened_at__isnull=False).values_list("subscriber", flat=True))
    known = set(discovery.names())
    return [
        SubscriberLine(
            name=one.name,
            state=one.state,
            types=tuple(sorted(one.types)),
            starts_at=one.starts_at,
            release=one.release,
            waiting=waiting[one.name],
            for_a_person=for_a_person[one.name],
            is_circuit_open=one.name in silent,
            is_known=one.name in known,
        )
        for one in Subscriber.objects.all()
    ]


def _counts() -> tuple[Counter[str], Counter[str]]:
    waiting: Counter[str] = Counter({name: count for name, count, _ in relay.not_begun(0)})
    for_a_person: Counter[str] = Counter()
    for group in dead_letters.all_groups():
        of = for_a_person if group.state in dead_letters.WAITING else waiting
        of[group.subscriber] += group.count
    return waiting, for_a_person
