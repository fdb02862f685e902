"""The order saga as an executable specification for model checking: every state it can be in, and every move from there.

The protocol of docs/design.md and docs/semantics.md on one order: three steps (payment, inventory, shipping), two workers, one
provider. Here stands the engine; ``saga_state.py`` holds what it changes, ``saga_tasks.py`` what the tasks do with it, ``saga_world.py`` the provider and
everything that can go wrong; ``saga_check.py`` holds the invariants and searches the whole space. Values are immutable, functions pure.

One circuit stands before whatever step calls the provider, forward; while it is open nothing starts but a probe.

Of an amount it is known whether it is the one that was asked for. Not modelled: deliveries, most operators' verbs, deploys, other currencies, the lag of a
look-up, that a 409 spends no try, more than one order. Time is order only: a wake-up is free
when nothing of the current epoch is left that could move, and a fault before that. Assumed of the world:
no request is in the air, and no worker stands between its last look at the clock and its send, for a whole key window.
"""

from __future__ import annotations

from tests.proofs.model.saga_state import (
    INVENTORY,
    PAYMENT,
    SHIPPING,
    Journal,
    Message,
    Record,
    Rules,
    Worker,
    World,
    put,
)

DO_BUDGET, COMPENSATION_BUDGET = 2, 3


def current(journal: Journal) -> tuple[int, bool] | None:
    """The step at the border, and whether it is to be compensated."""
    if journal.saga == "running":
        return next(((k, False) for k in range(3) if journal.steps[k].state != "succeeded"), None)
    if journal.saga == "compensating":
        walked = ("compensated", "not_needed", "compensation_failed")
        return next(((k, True) for k in (2, 1, 0) if journal.steps[k].state not in walked), None)
    return None


def perhaps_called(rules: Rules, record: Record, step: int) -> bool:
    """May this step's effect exist, or come to exist, without a receipt in the journal?"""
    if step == INVENTORY:
        return False
    if record.state == "rejected":
        return not rules.rejection_ends_doubt
    if record.state == "scheduled":
        return record.doubt or (rules.scheduled_is_doubt and rules.intent_first)
    if record.state == "retry_wait":
        return rules.unavailable_proves == "nothing" or record.doubt
    return record.state in ("started", "in_doubt")


def turn_back(rules: Rules, journal: Journal) -> Journal:
    """Running → compensating under a new epoch: whatever succeeded or may have happened will be compensated, in reverse."""

    def compensation_of(step: int, record: Record) -> Record:
        if record.state == "succeeded":
            return Record("compensation_pending", receipt=record.receipt)
        return Record("compensation_pending", doubt=True) if perhaps_called(rules, record, step) else Record("not_needed")

    steps = tuple(compensation_of(k, r) for k, r in enumerate(journal.steps))
    epoch = journal.epoch + rules.turn_back_raises_epoch
    return schedule_next_compensation(rules, journal._replace(saga="compensating", epoch=epoch, steps=steps))


def schedule_next_compensation(rules: Rules, journal: Journal) -> Journal:
    """The next compensation is scheduled, or the walk is over: compensated, never while one is open or has failed."""
    border = current(journal)
    if border is None:
        failed = any(record.state == "compensation_failed" for record in journal.steps)
        return give_up(rules, journal) if failed else journal._replace(saga="compensated", wake=False)
    return put(journal, border[0], journal.steps[border[0]]._replace(state="compensation_scheduled"), wake=True)


def give_up(rules: Rules, journal: Journal) -> Journal:
    """Automatic means are exhausted: an incident is open, and no worker of the old epoch writes any more."""
    return journal._replace(saga="attention", wake=False, epoch=journal.epoch + rules.parking_raises_epoch)


def launch(journal: Journal) -> Message | None:
    """What is left, as one chain: only its first message exists, the others follow from hand to hand."""
    border = current(journal)
    return border and Message("compensate" if border[1] else "do", border[0], journal.epoch)


def asked_before(record: Record) -> bool:
    return record.tries > 0 or record.doubt


def take_over(rules: Rules, journal: Journal) -> Journal:
    """A new epoch for a saga that nobody seems to run. What was scheduled or started may have been called: in doubt.

    Workers that are lost turn nothing back: too many of them are a person's. (Here tries and launches without progress are one number.)
    """
    if journal.saga not in ("running", "compensating"):
        return journal
    step, compensating = current(journal)
    record = journal.steps[step]
    if (
        record.state in ("started", "compensation_started")
        and not journal.cancel
        and record.tries >= (COMPENSATION_BUDGET if compensating else DO_BUDGET)
    ):
        return give_up(rules, journal)
    if record.state == "pending" and not journal.cancel:
        return put(journal, step, record._replace(state="scheduled"), wake=True)
    epoch = journal.epoch + (rules.sweep_raises_scheduled or record.state not in ("scheduled", "compensation_scheduled"))
    if compensating:
        if record.tries >= COMPENSATION_BUDGET:
            return give_up(rules, journal)
        return put(journal, step, record._replace(state="compensation_scheduled", claim=0), epoch=epoch, wake=True)
    if journal.cancel or record.state == "rejected" or record.tries >= DO_BUDGET:
        return turn_back(rules, journal)
    doubt = record.doubt or perhaps_called(rules, record, step)
    return put(journal, step, record._replace(state="scheduled", doubt=doubt, claim=0), epoch=epoch, wake=True)


def stopped(journal: Journal) -> Journal:
    """An errback found the border step started: this try is in doubt, and whoever may still run it is fenced."""
    step, compensating = current(journal)
    record = journal.steps[step]._replace(state="compensation_wait" if compensating else "in_doubt", doubt=True, claim=0)
    return put(journal, step, record, epoch=journal.epoch + 1, wake=True)


def before_an_open_circuit(rules: Rules, world: World) -> bool:
    """Something is to be called forward, the circuit is open, and this order is not the probe."""
    border = current(world.journal)
    if border is None or border[1] or border[0] == INVENTORY or not world.out or world.probe:
        return False
    return not world.journal.cancel and world.journal.steps[border[0]].state != "rejected"


def held(rules: Rules, world: World) -> Journal:
    """It waits: a try is put in doubt and not counted, a scheduled step that cannot have been called is withdrawn."""
    journal = world.journal
    step, _ = current(journal)
    record = journal.steps[step]
    if record.state == "started":
        return stopped(put(journal, step, record._replace(tries=max(record.tries - 1, 1))))
    unused = {"never asked": world.out_since_scheduled and record.tries == 0 and not record.doubt, "anything": True, "nothing": False}
    if record.state == "scheduled" and unused[rules.withdraws]:
        return put(journal, step, Record("pending"), epoch=journal.epoch + 1, wake=True)
    return journal


def record_do(rules: Rules, journal: Journal, worker: Worker) -> Journal:
    """The outcome of a step, and the scheduling of the next, in one transaction."""
    step, answer, record = worker.step, worker.answer, journal.steps[worker.step]
    if answer == "other" and rules.amounts_compared:
        return turn_back(rules, put(journal, step, Record("succeeded", record.tries, receipt=worker.key)))
    if answer in ("ok", "other"):
        journal = put(journal, step, Record("succeeded", record.tries, receipt=worker.key))
        if journal.cancel and (step != SHIPPING or rules.cancel_beats_pivot):
            return turn_back(rules, journal)
        if step == SHIPPING:
            return journal._replace(saga="completed", wake=False, events=journal.events + rules.event_with_status)
        return put(journal, step + 1, Record("scheduled"), wake=rules.schedule_sets_wake)
    if answer == "rejected":
        return put(journal, step, record._replace(state="rejected"))
    if answer == "unavailable":
        doubt = record.doubt and rules.unavailable_proves != "not done"
        return put(journal, step, record._replace(state="retry_wait", doubt=doubt), wake=True)
    return put(journal, step, record._replace(state="in_doubt", doubt=True), wake=True)


def record_compensation(rules: Rules, journal: Journal, worker: Worker) -> Journal:
    """The outcome of a compensation, and the scheduling of the next."""
    step, answer, record = worker.step, worker.answer, journal.steps[worker.step]
    if answer == "ok" or (answer == "part" and not rules.rest_is_asked_for):
        return schedule_next_compensation(rules, put(journal, step, Record("compensated")))
    if answer == "rejected":
        journal = put(journal, step, record._replace(state="compensation_failed"))
        return give_up(rules, journal) if rules.compensation_blocks or step == PAYMENT else schedule_next_compensation(rules, journal)
    return put(journal, step, record._replace(state="compensation_wait"), wake=True)


def may_record(rules: Rules, journal: Journal, worker: Worker) -> bool:
    """The fence of an outcome. A worker that fails it is a zombie: it writes history, nothing else."""
    if rules.fence and worker.epoch != journal.epoch:
        return False
    if not rules.fence or rules.record_guard == "epoch":
        return journal.saga in ("running", "compensating")
    record = journal.steps[worker.step]
    if not rules.intent_first:
        return record.state == ("compensation_scheduled" if worker.compensating else "scheduled")
    started = record.state == ("compensation_started" if worker.compensating else "started")
    return started and (rules.record_guard == "state" or record.claim == worker.claim)
