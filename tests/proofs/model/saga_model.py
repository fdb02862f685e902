"""The order saga as an executable specification: every state it can be in, and every move from there.

The protocol of docs/design.md and docs/semantics.md on one order: three steps (payment, inventory, shipping), two workers, one
provider. Here stand the journal, the engine and the tasks; ``saga_world.py`` holds the provider and everything that can
go wrong; ``saga_check.py`` holds the invariants and searches the whole space. Values are immutable, functions pure.

One circuit stands before whatever step talks to the provider, forward; while it is open nothing starts but a probe.

Of an amount it is known whether it is the one that was asked for. Not modelled: deliveries, most operators' verbs, deploys, other currencies, the lag of a
look-up, that a 409 spends no try, more than one order. Time is order only: a wake-up is free
when nothing of the current epoch is left that could move, and a fault before that. Assumed of the world:
no request is in the air, and no worker stands between its last look at the clock and its send, for a whole key window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, NamedTuple

PAYMENT, INVENTORY, SHIPPING = range(3)
NAMES = ("payment", "inventory", "shipping")
DO_BUDGET, UNDO_BUDGET = 2, 3
WORKERS = 2


@dataclass(frozen=True)
class Rules:
    """The rules of the engine. The defaults are the safe design; each switch is one rule broken or one reading."""

    fence: bool = True  # every journal write carries WHERE epoch = mine
    settle_guard: str = "claim"  # claim: my own start | state: any start of this epoch | epoch: the epoch alone
    intent_first: bool = True  # grant and start are committed before the call
    start_waits: bool = False  # the start commit waits for the disk
    settle_waits: bool = True  # the commit of a success, and of the next grant, waits for the disk
    cancel_waits: bool = True  # the commit of a cancel request waits for the disk
    granted_is_doubt: bool = True  # found granted = perhaps called (its start may be lost with the database)
    unavailable_proves: str = "nothing"  # nothing: still perhaps called | no doubt: not done, unless doubted | not done
    rejection_ends_doubt: bool = True  # Rejected settles every try of its key (else: it is undone blind as well)
    epoch_waits: bool = True  # the commit that raises the epoch waits for the disk
    sweep_raises_granted: bool = False  # so does the sweep on a step not yet started (else: same message again)
    turn_back_raises_epoch: bool = True  # running → compensating raises the epoch
    parking_raises_epoch: bool = True  # needs_attention raises the epoch as well
    errback_means_undo: bool = False  # an errback turns the saga back without reading the journal
    errback_takes_over: bool = True  # an errback that finds "started" puts it in doubt (else: the lease decides)
    noop_hands_on: bool = False  # a task that found nothing to do still hands the chain on
    key_per_try: bool = False  # a new idempotency key for each epoch
    window_from_grant: bool = True  # the key window counts from the (durable) grant, not from the start
    send_deadline: str = "window"  # a paused worker sends nothing after: its key window | its lease | never
    busy_is_doubt: bool = True  # 409 "in progress with this key" = in doubt, not unavailable
    blind_undo: str = "tombstone"  # tombstone: cancel by key | burn: do it under its key, undo that | look: look up
    undo_blocks: bool = True  # a label that cannot be cancelled stops the refund
    cancel_in_start: bool = True  # start turns the saga back when it meets a cancel (else: returns silently)
    cancel_beats_pivot: bool = False  # a cancel remembered during shipping is honoured after it succeeded
    grant_sets_wake: bool = True  # a grant carries its own wake_at
    savepoint: bool = True  # a local step that is rejected takes its half-done rows back
    event_with_status: bool = True  # the event commits with "fulfilled", not in a commit of its own
    withdraws: str = (
        "never asked"  # before an open circuit a grant is withdrawn: never asked: it came when the circuit was open | any grant | no grant
    )
    probe_waits: bool = True  # the start of a probe waits for the disk
    amounts_compared: bool = True  # a charge of another amount turns the order back
    rest_is_asked_for: bool = True  # a refund of a part is not the end
    replay_is_checked: bool = True  # an answer that may come from memory is followed by a look at what has become of it
    provider_keys: bool = True  # (provider) it knows idempotency keys, and not only look-up
    keeps_rejections: bool = True  # (provider) a rejection is remembered under its key
    max_faults: int = 2


# --- the state --------------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """A step record. ``claim`` = the one start that may settle it; ``doubt`` = an earlier try may have happened."""

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
    steps: tuple[Record, ...] = (Record("granted"), Record(), Record())
    reserved: bool = False
    events: int = 0


class Message(NamedTuple):
    """A message in the broker: ``do`` and ``undo`` are chain tasks, ``failed`` the errback, ``event`` a lone publish."""

    kind: str
    step: int
    epoch: int


class Worker(NamedTuple):
    """A process between start and settle, at ``pc`` "call" or "settle".

    ``again``: the journal knows of an earlier try. ``careful``: a do looks its key up once the key's window is over;
    an undo has no receipt and goes by the step's key.
    """

    step: int
    undo: bool
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

    ``out`` = the circuit is open; ``out_since_grant`` = and was so already at the grant that stands now; ``probe`` = this order may call all the same.
    """

    journal: Journal = Journal()
    past: tuple[Journal, ...] = ()
    inbox: tuple[Message, ...] = (Message("do", PAYMENT, 1),)
    workers: tuple[Worker, ...] = ()
    provider: Provider = Provider()
    faults: int = 0
    asked: bool = False
    out: bool = False
    out_since_grant: bool = False
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


# --- the engine: pure functions on the journal ------------------------------------------------------------------------


def current(journal: Journal) -> tuple[int, bool] | None:
    """The step at the border, and whether it is to be undone."""
    if journal.saga == "running":
        return next(((k, False) for k in range(3) if journal.steps[k].state != "succeeded"), None)
    if journal.saga == "compensating":
        walked = ("undone", "not_needed", "undo_failed")
        return next(((k, True) for k in (2, 1, 0) if journal.steps[k].state not in walked), None)
    return None


def perhaps_called(rules: Rules, record: Record, step: int) -> bool:
    """May this step's effect exist, or come to exist, without a receipt in the journal?"""
    if step == INVENTORY:
        return False
    if record.state == "rejected":
        return not rules.rejection_ends_doubt
    if record.state == "granted":
        return record.doubt or (rules.granted_is_doubt and rules.intent_first)
    if record.state == "retry_wait":
        return rules.unavailable_proves == "nothing" or record.doubt
    return record.state in ("started", "in_doubt")


def turn_back(rules: Rules, journal: Journal) -> Journal:
    """Running → compensating under a new epoch: whatever succeeded or may have happened will be undone, in reverse."""

    def undo_of(step: int, record: Record) -> Record:
        if record.state == "succeeded":
            return Record("undo_pending", receipt=record.receipt)
        return Record("undo_pending", doubt=True) if perhaps_called(rules, record, step) else Record("not_needed")

    steps = tuple(undo_of(k, r) for k, r in enumerate(journal.steps))
    epoch = journal.epoch + rules.turn_back_raises_epoch
    return grant_next_undo(rules, journal._replace(saga="compensating", epoch=epoch, steps=steps))


def grant_next_undo(rules: Rules, journal: Journal) -> Journal:
    """The next undo is granted, or the walk is over: compensated, never while one is open or has failed."""
    border = current(journal)
    if border is None:
        failed = any(record.state == "undo_failed" for record in journal.steps)
        return give_up(rules, journal) if failed else journal._replace(saga="compensated", wake=False)
    return put(journal, border[0], journal.steps[border[0]]._replace(state="undo_granted"), wake=True)


def give_up(rules: Rules, journal: Journal) -> Journal:
    """Automatic means are exhausted: an incident is open, and no worker of the old epoch writes any more."""
    return journal._replace(saga="attention", wake=False, epoch=journal.epoch + rules.parking_raises_epoch)


def launch(journal: Journal) -> Message | None:
    """What is left, as one chain: only its first message exists, the others follow from hand to hand."""
    border = current(journal)
    return border and Message("undo" if border[1] else "do", border[0], journal.epoch)


def asked_before(record: Record) -> bool:
    return record.tries > 0 or record.doubt


def take_over(rules: Rules, journal: Journal) -> Journal:
    """A new epoch for a saga that nobody seems to run. What was granted or started may have been called: in doubt.

    Workers that are lost turn nothing back: too many of them are a person's. (Here tries and launches without progress are one number.)
    """
    if journal.saga not in ("running", "compensating"):
        return journal
    step, undo = current(journal)
    record = journal.steps[step]
    if record.state in ("started", "undo_started") and not journal.cancel and record.tries >= (UNDO_BUDGET if undo else DO_BUDGET):
        return give_up(rules, journal)
    if record.state == "pending" and not journal.cancel:
        return put(journal, step, record._replace(state="granted"), wake=True)
    epoch = journal.epoch + (rules.sweep_raises_granted or record.state not in ("granted", "undo_granted"))
    if undo:
        if record.tries >= UNDO_BUDGET:
            return give_up(rules, journal)
        return put(journal, step, record._replace(state="undo_granted", claim=0), epoch=epoch, wake=True)
    if journal.cancel or record.state == "rejected" or record.tries >= DO_BUDGET:
        return turn_back(rules, journal)
    doubt = record.doubt or perhaps_called(rules, record, step)
    return put(journal, step, record._replace(state="granted", doubt=doubt, claim=0), epoch=epoch, wake=True)


def stopped(journal: Journal) -> Journal:
    """An errback found the border step started: this try is in doubt, and whoever may still run it is fenced."""
    step, undo = current(journal)
    record = journal.steps[step]._replace(state="undo_wait" if undo else "in_doubt", doubt=True, claim=0)
    return put(journal, step, record, epoch=journal.epoch + 1, wake=True)


def before_an_open_circuit(rules: Rules, world: World) -> bool:
    """Something is to be called forward, the circuit is open, and this order is not the probe."""
    border = current(world.journal)
    if border is None or border[1] or border[0] == INVENTORY or not world.out or world.probe:
        return False
    return not world.journal.cancel and world.journal.steps[border[0]].state != "rejected"


def held(rules: Rules, world: World) -> Journal:
    """It waits: a try is put in doubt and not counted, a grant that cannot have been used is withdrawn."""
    journal = world.journal
    step, _ = current(journal)
    record = journal.steps[step]
    if record.state == "started":
        return stopped(put(journal, step, record._replace(tries=max(record.tries - 1, 1))))
    unused = {"never asked": world.out_since_grant and record.tries == 0 and not record.doubt, "any grant": True, "no grant": False}
    if record.state == "granted" and unused[rules.withdraws]:
        return put(journal, step, Record("pending"), epoch=journal.epoch + 1, wake=True)
    return journal


def settle_do(rules: Rules, journal: Journal, worker: Worker) -> Journal:
    """The outcome of a step, and the grant of the next, in one transaction."""
    step, answer, record = worker.step, worker.answer, journal.steps[worker.step]
    if answer == "other" and rules.amounts_compared:
        return turn_back(rules, put(journal, step, Record("succeeded", record.tries, receipt=worker.key)))
    if answer in ("ok", "other"):
        journal = put(journal, step, Record("succeeded", record.tries, receipt=worker.key))
        if journal.cancel and (step != SHIPPING or rules.cancel_beats_pivot):
            return turn_back(rules, journal)
        if step == SHIPPING:
            return journal._replace(saga="completed", wake=False, events=journal.events + rules.event_with_status)
        return put(journal, step + 1, Record("granted"), wake=rules.grant_sets_wake)
    if answer == "rejected":
        return put(journal, step, record._replace(state="rejected"))
    if answer == "unavailable":
        doubt = record.doubt and rules.unavailable_proves != "not done"
        return put(journal, step, record._replace(state="retry_wait", doubt=doubt), wake=True)
    return put(journal, step, record._replace(state="in_doubt", doubt=True), wake=True)


def settle_undo(rules: Rules, journal: Journal, worker: Worker) -> Journal:
    """The outcome of an undo, and the grant of the next."""
    step, answer, record = worker.step, worker.answer, journal.steps[worker.step]
    if answer == "ok" or (answer == "part" and not rules.rest_is_asked_for):
        return grant_next_undo(rules, put(journal, step, Record("undone")))
    if answer == "rejected":
        journal = put(journal, step, record._replace(state="undo_failed"))
        return give_up(rules, journal) if rules.undo_blocks or step == PAYMENT else grant_next_undo(rules, journal)
    return put(journal, step, record._replace(state="undo_wait"), wake=True)


def may_settle(rules: Rules, journal: Journal, worker: Worker) -> bool:
    """The fence of a settle. A worker that fails it is a zombie: it writes history, nothing else."""
    if rules.fence and worker.epoch != journal.epoch:
        return False
    if not rules.fence or rules.settle_guard == "epoch":
        return journal.saga in ("running", "compensating")
    record = journal.steps[worker.step]
    if not rules.intent_first:
        return record.state == ("undo_granted" if worker.undo else "granted")
    started = record.state == ("undo_started" if worker.undo else "started")
    return started and (rules.settle_guard == "state" or record.claim == worker.claim)


# --- the tasks --------------------------------------------------------------------------------------------------------


def transact(rules: Rules, world: World, journal: Journal, waits: bool, failed: Message | None = None) -> World:
    """Commit, then publish on commit: the next of the chain, or the errback of a step that raised."""
    if journal.epoch != world.journal.epoch:
        waits = rules.epoch_waits
    border = current(journal)
    if border and not border[1] and (world.journal.steps[border[0]].state, journal.steps[border[0]].state) == ("pending", "granted"):
        world = world._replace(out_since_grant=world.out)
    follow = failed or (launch(journal) if launchable(journal) else None)
    lone_event = journal.saga == "completed" and not rules.event_with_status
    return publish(commit(world, journal, waits), follow, Message("event", 0, 0) if lone_event else None)


def launchable(journal: Journal) -> bool:
    border = current(journal)
    return border is not None and journal.steps[border[0]].state in ("granted", "undo_granted")


def receive(rules: Rules, world: World, message: Message) -> Iterator[tuple[str, World]]:
    """A worker takes a message (early acknowledgement: it is gone) and does what the journal allows."""
    world = world._replace(inbox=without(world.inbox, message))
    journal, record = world.journal, world.journal.steps[message.step]
    name = f"{message.kind} {NAMES[message.step]} e{message.epoch}"
    if message.kind == "event":
        yield "the event is written", commit(world, journal._replace(events=journal.events + 1), waits=True)
        return
    if message.kind == "failed":
        yield f"errback of {NAMES[message.step]} e{message.epoch} is handled", handle_errback(rules, world, message)
        return
    undo = message.kind == "undo"
    mine = not rules.fence or message.epoch == journal.epoch
    right_way = journal.saga == ("compensating" if undo else "running")
    if not (mine and right_way and record.state == ("undo_granted" if undo else "granted")):
        further = message.step + (-1 if undo else 1)
        hand_on = rules.noop_hands_on and further in range(3)
        yield f"{name}: 0 rows, nothing", publish(world, message._replace(step=further)) if hand_on else world
    elif journal.cancel and not undo:
        turned = turn_back(rules, journal) if rules.cancel_in_start else journal
        yield f"{name}: meets the cancel", transact(rules, world, turned, True) if turned != journal else world
    elif message.step == INVENTORY:
        yield from run_local(rules, world, message, name)
    elif not undo and before_an_open_circuit(rules, world):
        yield f"{name}: refused, the circuit is open", commit(world, held(rules, world), waits=True)
    elif len(world.workers) < WORKERS:
        yield f"{name}: started", start(rules, world, message)


def start(rules: Rules, world: World, message: Message) -> World:
    """granted → started, without waiting for the disk; the worker now stands before its call."""
    journal, step, undo = world.journal, message.step, message.kind == "undo"
    record = journal.steps[step]
    used = {w.claim for w in world.workers} | {r.claim for j in (journal, *world.past) for r in j.steps}
    claim = next(n for n in range(1, 99) if n not in used)
    key = f"{NAMES[step]}" + (f":e{message.epoch}" if rules.key_per_try and not undo else "")
    careful = not record.receipt if undo else rules.window_from_grant or (record.doubt and record.tries > 0)
    if rules.intent_first:
        state = "undo_started" if undo else "started"
        journal = put(journal, step, record._replace(state=state, tries=record.tries + 1, claim=claim))
        world = commit(world, journal, waits=rules.start_waits or (world.probe and rules.probe_waits))
        world = world._replace(probe=False)
    key = record.receipt or key if undo else key
    worker = Worker(step, undo, message.epoch, claim, "call", key, careful, again=asked_before(record))
    return world._replace(workers=tuple(sorted(world.workers + (worker,))))


def run_local(rules: Rules, world: World, message: Message, name: str) -> Iterator[tuple[str, World]]:
    """Our own rows commit with the journal row: no start, never in doubt."""
    worker = Worker(INVENTORY, message.kind == "undo", message.epoch, 0, "settle", "stock", answer="ok")
    if worker.undo:
        journal = settle_undo(rules, world.journal._replace(reserved=False), worker)
        yield f"{name}: released", transact(rules, world, journal, True)
        return
    journal = settle_do(rules, world.journal._replace(reserved=True), worker)
    yield f"{name}: reserved", transact(rules, world, journal, rules.settle_waits)
    half_done = world.journal._replace(reserved=not rules.savepoint)
    journal = settle_do(rules, half_done, worker._replace(answer="rejected"))
    yield f"{name}: out of stock", transact(rules, world, journal, True, Message("failed", INVENTORY, message.epoch))


def handle_errback(rules: Rules, world: World, message: Message) -> World:
    """The chain stopped here, for whatever reason: read the journal, then act. Twice is once."""
    journal = world.journal
    if rules.fence and message.epoch != journal.epoch or journal.saga not in ("running", "compensating"):
        return world
    step, undo = current(journal)
    state = journal.steps[step].state
    if rules.errback_means_undo and not undo:
        rejected = put(journal, message.step, journal.steps[message.step]._replace(state="rejected"))
        return transact(rules, world, turn_back(rules, rejected), True)
    if state == "rejected":
        return transact(rules, world, turn_back(rules, journal), True)
    if state in ("granted", "undo_granted"):
        return publish(world, launch(journal))
    if state in ("started", "undo_started") and rules.errback_takes_over:
        return transact(rules, world, stopped(journal), True)
    return world


def settle(rules: Rules, world: World, worker: Worker) -> Iterator[tuple[str, World]]:
    """The worker writes what it learned, if it still may. A failed hand-off: an errback, though the step succeeded."""
    gone, journal = worker_moves_on(world, worker, None), world.journal
    name = f"{'undo ' if worker.undo else ''}{NAMES[worker.step]} e{worker.epoch}: "
    if not may_settle(rules, journal, worker):
        yield name + f"zombie with '{worker.answer}' writes nothing", gone
        return
    after = (settle_undo if worker.undo else settle_do)(rules, journal, worker)
    errback = Message("failed", worker.step, worker.epoch)
    raised = errback if worker.answer == "rejected" and after.saga == "running" else None
    waits = {"ok": rules.settle_waits, "other": rules.settle_waits, "rejected": True, "part": True}.get(worker.answer, False)
    settled = transact(rules, gone, after, waits, raised)
    yield name + f"settles {worker.answer}", settled
    if world.faults < rules.max_faults and not raised:
        failed = publish(settled, errback)._replace(faults=world.faults + 1)
        yield name + f"settles {worker.answer}, hand-off fails, errback", failed
