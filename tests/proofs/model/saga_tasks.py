"""What the tasks do with one order: they receive a message, start, and record, in transactions that may publish the next message."""

from __future__ import annotations

from typing import Iterator

from tests.proofs.model.saga_model import (
    asked_before,
    before_an_open_circuit,
    current,
    held,
    launch,
    may_record,
    record_compensation,
    record_do,
    stopped,
    turn_back,
)
from tests.proofs.model.saga_state import (
    INVENTORY,
    NAMES,
    Journal,
    Message,
    Rules,
    Worker,
    World,
    commit,
    publish,
    put,
    without,
    worker_moves_on,
)

WORKERS = 2


def transact(rules: Rules, world: World, journal: Journal, waits: bool, failed: Message | None = None) -> World:
    """Commit, then publish on commit: the next of the chain, or the errback of a step that raised."""
    if journal.epoch != world.journal.epoch:
        waits = rules.epoch_waits
    border = current(journal)
    if border and not border[1] and (world.journal.steps[border[0]].state, journal.steps[border[0]].state) == ("pending", "scheduled"):
        world = world._replace(out_since_scheduled=world.out)
    follow = failed or (launch(journal) if launchable(journal) else None)
    lone_event = journal.saga == "completed" and not rules.event_with_status
    return publish(commit(world, journal, waits), follow, Message("event", 0, 0) if lone_event else None)


def launchable(journal: Journal) -> bool:
    border = current(journal)
    return border is not None and journal.steps[border[0]].state in ("scheduled", "compensation_scheduled")


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
    compensating = message.kind == "compensate"
    mine = not rules.fence or message.epoch == journal.epoch
    right_way = journal.saga == ("compensating" if compensating else "running")
    if not (mine and right_way and record.state == ("compensation_scheduled" if compensating else "scheduled")):
        further = message.step + (-1 if compensating else 1)
        hand_on = rules.noop_hands_on and further in range(3)
        yield f"{name}: 0 rows, nothing", publish(world, message._replace(step=further)) if hand_on else world
    elif journal.cancel and not compensating:
        turned = turn_back(rules, journal) if rules.cancel_in_start else journal
        yield f"{name}: meets the cancel", transact(rules, world, turned, True) if turned != journal else world
    elif message.step == INVENTORY:
        yield from run_local(rules, world, message, name)
    elif not compensating and before_an_open_circuit(rules, world):
        yield f"{name}: refused, the circuit is open", commit(world, held(rules, world), waits=True)
    elif len(world.workers) < WORKERS:
        yield f"{name}: started", start(rules, world, message)


def start(rules: Rules, world: World, message: Message) -> World:
    """scheduled → started, without waiting for the disk; the worker now stands before its call."""
    journal, step, compensating = world.journal, message.step, message.kind == "compensate"
    record = journal.steps[step]
    used = {w.claim for w in world.workers} | {r.claim for j in (journal, *world.past) for r in j.steps}
    claim = next(n for n in range(1, 99) if n not in used)
    key = f"{NAMES[step]}" + (f":e{message.epoch}" if rules.key_per_try and not compensating else "")
    careful = not record.receipt if compensating else rules.window_from_schedule or (record.doubt and record.tries > 0)
    if rules.intent_first:
        state = "compensation_started" if compensating else "started"
        journal = put(journal, step, record._replace(state=state, tries=record.tries + 1, claim=claim))
        world = commit(world, journal, waits=rules.start_waits or (world.probe and rules.probe_waits))
        world = world._replace(probe=False)
    key = record.receipt or key if compensating else key
    worker = Worker(step, compensating, message.epoch, claim, "call", key, careful, again=asked_before(record))
    return world._replace(workers=tuple(sorted(world.workers + (worker,))))


def run_local(rules: Rules, world: World, message: Message, name: str) -> Iterator[tuple[str, World]]:
    """Our own rows commit with the journal row: no start, never in doubt."""
    worker = Worker(INVENTORY, message.kind == "compensate", message.epoch, 0, "record", "stock", answer="ok")
    if worker.compensating:
        journal = record_compensation(rules, world.journal._replace(reserved=False), worker)
        yield f"{name}: released", transact(rules, world, journal, True)
        return
    journal = record_do(rules, world.journal._replace(reserved=True), worker)
    yield f"{name}: reserved", transact(rules, world, journal, rules.record_waits)
    half_done = world.journal._replace(reserved=not rules.savepoint)
    journal = record_do(rules, half_done, worker._replace(answer="rejected"))
    yield f"{name}: out of stock", transact(rules, world, journal, True, Message("failed", INVENTORY, message.epoch))


def handle_errback(rules: Rules, world: World, message: Message) -> World:
    """The chain stopped here, for whatever reason: read the journal, then act. Twice is once."""
    journal = world.journal
    if rules.fence and message.epoch != journal.epoch or journal.saga not in ("running", "compensating"):
        return world
    step, compensating = current(journal)
    state = journal.steps[step].state
    if rules.errback_means_compensation and not compensating:
        rejected = put(journal, message.step, journal.steps[message.step]._replace(state="rejected"))
        return transact(rules, world, turn_back(rules, rejected), True)
    if state == "rejected":
        return transact(rules, world, turn_back(rules, journal), True)
    if state in ("scheduled", "compensation_scheduled"):
        return publish(world, launch(journal))
    if state in ("started", "compensation_started") and rules.errback_takes_over:
        return transact(rules, world, stopped(journal), True)
    return world


def record_outcome(rules: Rules, world: World, worker: Worker) -> Iterator[tuple[str, World]]:
    """The worker writes what it learned, if it still may. A failed hand-off: an errback, though the step succeeded."""
    gone, journal = worker_moves_on(world, worker, None), world.journal
    name = f"{'compensate ' if worker.compensating else ''}{NAMES[worker.step]} e{worker.epoch}: "
    if not may_record(rules, journal, worker):
        yield name + f"zombie with '{worker.answer}' writes nothing", gone
        return
    after = (record_compensation if worker.compensating else record_do)(rules, journal, worker)
    errback = Message("failed", worker.step, worker.epoch)
    raised = errback if worker.answer == "rejected" and after.saga == "running" else None
    waits = {"ok": rules.record_waits, "other": rules.record_waits, "rejected": True, "part": True}.get(worker.answer, False)
    recorded = transact(rules, gone, after, waits, raised)
    yield name + f"records {worker.answer}", recorded
    if world.faults < rules.max_faults and not raised:
        failed = publish(recorded, errback)._replace(faults=world.faults + 1)
        yield name + f"records {worker.answer}, hand-off fails, errback", failed
