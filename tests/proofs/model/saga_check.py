"""Search the saga model breadth first: the design must hold, each mutation must be caught, each reading gets a verdict::

python -m tests.proofs.model.saga_check                                # three tables, four minutes
python -m tests.proofs.model.saga_check --rules "" --faults 4          # the design alone, two minutes
python -m tests.proofs.model.saga_check --rules "blind_compensation=look"      # one set of rules, with the shortest trace of its breach
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import NamedTuple

from tests.proofs.model.saga_state import PAYMENT, SHIPPING, Rules, World
from tests.proofs.model.saga_world import moves

MAX_STATES = 20_000_000

# --- what must hold ---------------------------------------------------------------------------------------------------


def at_rest(world: World) -> bool:
    """Nothing will move by itself: no wake_at, no message, no worker, no request in the air."""
    return not (world.journal.wake or world.inbox or world.workers or world.provider.air)


def breach(world: World) -> str | None:
    """The first invariant of docs/semantics.md that this state breaks, as a sentence."""
    journal, ledger = world.journal, world.provider.ledger
    charged = sum(e.open for e in ledger if e.step == PAYMENT)
    labels = sum(e.open for e in ledger if e.step == SHIPPING)
    if charged > 1 or any(ledger.count(e) + ledger.count(e._replace(open=not e.open)) > 1 for e in ledger):
        return "charged or labelled twice"
    if journal.events > 1:
        return "order.fulfilled twice"
    if journal.saga == "compensated" and any(r.state not in ("compensated", "not_needed") for r in journal.steps):
        return "compensated while a compensation is open"
    if not at_rest(world):
        return None
    if journal.saga in ("running", "compensating"):
        return "stranded: nothing will wake it and nobody is notified"
    if labels and not charged:
        return "shipped for free"
    if journal.saga == "completed" and world.asked and not journal.cancel:
        return "an accepted cancel was forgotten"
    if journal.saga == "completed" and not all(e.whole for e in ledger if e.open):
        return "completed, and another amount was taken"
    due = {"completed": (1, 1, True, 1), "compensated": (0, 0, False, 0)}.get(journal.saga)
    if due and due != (charged, labels, journal.reserved, journal.events):
        stock = f"reserved {journal.reserved}, events {journal.events}"
        return f"{journal.saga}, but charged {charged}, labels {labels}, {stock}"
    return None


# --- the search -------------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    states: int
    seconds: float
    breach: str | None
    trace: tuple[str, ...]
    endings: dict[str, int]


def explore(rules: Rules) -> Result:
    """Breadth first, so that the first breach found has the shortest trace."""
    begun, first = time.perf_counter(), World()
    parents: dict[World, tuple[World, str] | None] = {first: None}
    frontier, endings = [first], {}
    while frontier:
        coming = []
        for world in frontier:
            for label, after in moves(rules, world):
                if after in parents:
                    continue
                parents[after] = (world, label)
                broken = breach(after)
                if broken or len(parents) > MAX_STATES:
                    found, trace = broken or "too many states", trace_to(parents, after)
                    return Result(len(parents), time.perf_counter() - begun, found, trace, endings)
                coming.append(after)
            if at_rest(world):
                endings[world.journal.saga] = endings.get(world.journal.saga, 0) + 1
        frontier = coming
    return Result(len(parents), time.perf_counter() - begun, None, (), endings)


def trace_to(parents: dict, world: World) -> tuple[str, ...]:
    trace = []
    while parents[world]:
        world, label = parents[world]
        trace.append(label)
    return tuple(reversed(trace))


# --- the tables -------------------------------------------------------------------------------------------------------

MUTATIONS = (
    "fence=False",
    "intent_first=False",
    "key_per_try=True",
    "errback_means_compensation=True",
    "blind_compensation=look",
    "record_guard=epoch",
    "scheduled_is_doubt=False",
    "unavailable_proves=not done",
    "epoch_waits=False",
    "schedule_sets_wake=False",
    "savepoint=False",
    "event_with_status=False",
    "compensation_blocks=False",
    "parking_raises_epoch=False",
    "send_deadline=never",
    "window_from_schedule=False",
    "record_waits=False",
    "cancel_waits=False",
    "withdraws=anything",
    "probe_waits=False",
    "amounts_compared=False",
    "rest_is_asked_for=False",
    "replay_is_checked=False",
)
READINGS = (
    "withdraws=nothing",
    "record_guard=state",
    "unavailable_proves=no doubt",
    "busy_is_doubt=False",
    "sweep_raises_scheduled=True",
    "turn_back_raises_epoch=False",
    "errback_takes_over=False",
    "noop_hands_on=True",
    "cancel_in_start=False",
    "cancel_beats_pivot=True",
    "rejection_ends_doubt=False",
    "keeps_rejections=False",
    "keeps_rejections=False rejection_ends_doubt=False",
    "blind_compensation=burn",
    "blind_compensation=burn keeps_rejections=False rejection_ends_doubt=False",
    "provider_keys=False",
    "provider_keys=False send_deadline=lease",
    "provider_keys=False send_deadline=lease errback_takes_over=False",
    "provider_keys=False send_deadline=lease errback_takes_over=False start_waits=True",
    "unavailable_proves=no doubt start_waits=True",
    "record_guard=state start_waits=True",
    "unavailable_proves=not done start_waits=True",
    "scheduled_is_doubt=False start_waits=True",
)


def rules_from(text: str) -> Rules:
    """``"fence=False blind_compensation=look"`` → Rules."""
    changes, name = {}, ""
    for word in text.split():
        if "=" in word:
            name, word = word.split("=", 1)
            changes[name] = {"True": True, "False": False}.get(word, word)
        else:
            changes[name] += " " + word
    return replace(Rules(), **changes)


def shortest_breach(rules: Rules, max_faults: int) -> tuple[int, Result]:
    """The breach with the fewest faults, then the fewest moves; or the whole space, explored without one."""
    for faults_allowed in range(max_faults + 1):
        result = explore(replace(rules, max_faults=faults_allowed))
        if result.breach:
            break
    return faults_allowed, result


def report(text: str, max_faults: int, show: bool) -> None:
    """One line of a table; with its trace if asked."""
    fewest, found = shortest_breach(rules_from(text), max_faults)
    verdict = f"safe to {fewest} faults"
    if found.breach:
        verdict = f"BREACH, faults {fewest}, moves {len(found.trace)}: {found.breach}"
    print(f"{text or 'the design':82} {found.states:9,} states {found.seconds:6.1f} s  {verdict}", flush=True)
    for label in found.trace if show else ():
        print("      ", label)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--faults", type=int, default=3, help="at most this many faults in one history")
    options.add_argument("--rules", help='only these, with the trace: "name=value name=value", "" for the design')
    options.add_argument("--traces", action="store_true", help="print the trace of every breach")
    chosen = options.parse_args()
    if chosen.rules is not None:
        return report(chosen.rules, chosen.faults, show=True)
    for title, rows in (("The design", ("",)), ("Mutations: each must be caught", MUTATIONS), ("Readings", READINGS)):
        print(f"\n{title}\n")
        for text in rows:
            report(text, chosen.faults, chosen.traces)


if __name__ == "__main__":
    main()
