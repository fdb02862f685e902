"""What one order's saga is made of, as immutable values: the rules, the journal, the messages, the workers, the provider, and how a transaction changes them.

The defaults of ``Rules`` are the safe design; each switch is one rule broken, or one reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PAYMENT, INVENTORY, SHIPPING = range(3)
NAMES = ("payment", "inventory", "shipping")


@dataclass(frozen=True)
class Rules:
    """The rules of the engine. The defaults are the safe design; each switch is one rule broken or one reading."""

    fence: bool = True  # every journal write carries WHERE epoch = mine
    record_guard: str = "claim"  # claim: my own start | state: any start of this epoch | epoch: the epoch alone
    intent_first: bool = True  # that it is scheduled and started is committed before the call
    start_waits: bool = False  # the start commit waits for the disk
    record_waits: bool = True  # the commit of a success, and of the scheduling of the next step, waits for the disk
    cancel_waits: bool = True  # the commit of a cancel request waits for the disk
    scheduled_is_doubt: bool = True  # found scheduled = perhaps called (its start may be lost with the database)
    unavailable_proves: str = "nothing"  # nothing: still perhaps called | no doubt: not done, unless doubted | not done
    rejection_ends_doubt: bool = True  # Rejected ends every try of its key (else: it is compensated blind as well)
    epoch_waits: bool = True  # the commit that raises the epoch waits for the disk
    sweep_raises_scheduled: bool = False  # so does the sweep on a step not yet started (else: same message again)
    turn_back_raises_epoch: bool = True  # running → compensating raises the epoch
    parking_raises_epoch: bool = True  # needs_attention raises the epoch as well
    errback_means_compensation: bool = False  # an errback turns the saga back without reading the journal
    errback_takes_over: bool = True  # an errback that finds "started" puts it in doubt (else: the lease decides)
    noop_hands_on: bool = False  # a task that found nothing to do still hands the chain on
    key_per_try: bool = False  # a new idempotency key for each epoch
    window_from_schedule: bool = True  # the key window counts from the (durable) scheduling, not from the start
    send_deadline: str = "window"  # a paused worker sends nothing after: its key window | its lease | never
    busy_is_doubt: bool = True  # 409 "in progress with this key" = in doubt, not unavailable
    blind_compensation: str = "tombstone"  # tombstone: cancel by key | burn: do it under its key, compensate that | look: look up
    compensation_blocks: bool = True  # a label that cannot be cancelled stops the refund
    cancel_in_start: bool = True  # start turns the saga back when it meets a cancel (else: returns silently)
    cancel_beats_pivot: bool = False  # a cancel remembered during shipping is honoured after it succeeded
    schedule_sets_wake: bool = True  # what is scheduled carries its own wake_at
    savepoint: bool = True  # a local step that is rejected takes its half-done rows back
    event_with_status: bool = True  # the event commits with "fulfilled", not in a commit of its own
    # What is withdrawn of scheduled steps before an open circuit: "never asked" (scheduled when it was open), "anything" or "nothing".
    withdraws: str = "never asked"
    probe_waits: bool = True  # the start of a probe waits for the disk
    amounts_compared: bool = True  # a charge of another amount turns the order back
    rest_is_asked_for: bool = True  # a refund of a part is not the end
    replay_is_checked: bool = True  # an answer that may come from memory is followed by a look at what has become of it
    provider_keys: bool = True  # (provider) it knows idempotency keys, and not only look-up
    keeps_rejections: bool = True  # (provider) a rejection is remembered under its key
    max_faults: int = 2


class Record(NamedTuple):
    """A step record. ``claim`` = the one start that may record its outcome it; ``doubt`` = an earlier try may have happened."""

    state: str = "pending"
    tries: int = 0
    doubt: bool = False
    receipt: str | None = None
    claim: int = 0


class Journal(NamedTuple):
    """What PostgreSQL shows: ``wake`` = wake_at is set, ``events`` = order.fulfilled rows, ``reserved`` = stock."""

    saga: str = "running"
    epoch: int = 1
    wake: bool = True
    cancel: bool = False
    steps: tuple[Record, ...] = (Record("scheduled"), Record(), Record())
    reserved: bool = False
    events: int = 0


class Message(NamedTuple):
    """A message in the broker: ``do`` and ``compensate`` are chain tasks, ``failed`` the errback, ``event`` a lone publish."""

    kind: str
    step: int
    epoch: int


class Worker(NamedTuple):
    """A process between start and outcome, at ``pc`` "call" or "record".

    ``again``: the journal knows of an earlier try. ``careful``: a do looks its key up once the key's window is over;
    a compensation has no receipt and goes by the step's key.
    """

    step: int
    compensating: bool
    epoch: int
    claim: int
    pc: str
    key: str
    careful: bool = False
    answer: str = ""
    again: bool = False


class Entry(NamedTuple):
    """A charge or a label in the provider's ledger; open until refunded or cancelled. Not ``whole``: of another amount than was asked for."""

    step: int
    key: str
    open: bool = True
    whole: bool = True


class Provider(NamedTuple):
    """The world outside: ledger, answers by key, tombstones, keys past their window, requests still in the air."""

    ledger: tuple[Entry, ...] = ()
    memory: frozenset = frozenset()
    tombs: frozenset = frozenset()
    expired: frozenset = frozenset()
    air: tuple[tuple[int, str], ...] = ()
    handed_over: bool = False


class World(NamedTuple):
    """Everything. ``past`` = the journals that a database crash may bring back: since the last commit that waited.

    ``out`` = the circuit is open; ``out_since_scheduled`` = and was so already when the step that stands now was scheduled; ``probe`` = this order may call all the
    same.
    """

    journal: Journal = Journal()
    past: tuple[Journal, ...] = ()
    inbox: tuple[Message, ...] = (Message("do", PAYMENT, 1),)
    workers: tuple[Worker, ...] = ()
    provider: Provider = Provider()
    faults: int = 0
    asked: bool = False
    out: bool = False
    out_since_scheduled: bool = False
    probe: bool = False


def commit(world: World, journal: Journal, waits: bool) -> World:
    """A transaction. One that waits makes all before it durable; one that does not can be lost, with all after it."""
    if journal == world.journal:
        return world
    return world._replace(journal=journal, past=() if waits else world.past + (world.journal,))


def publish(world: World, *messages: Message | None) -> World:
    return world._replace(inbox=tuple(sorted(world.inbox + tuple(m for m in messages if m))))


def without(items: tuple, item) -> tuple:
    at = items.index(item)
    return items[:at] + items[at + 1 :]


def put(journal: Journal, step: int, record: Record, **changes) -> Journal:
    return journal._replace(steps=journal.steps[:step] + (record,) + journal.steps[step + 1 :], **changes)


def worker_moves_on(world: World, worker: Worker, after: Worker | None) -> World:
    rest = without(world.workers, worker)
    return world._replace(workers=tuple(sorted(rest + ((after,) if after else ()))))
