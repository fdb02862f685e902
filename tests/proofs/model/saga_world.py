"""The world around the engine: the provider, and whatever may happen next to one order.

What is a fault, and costs one: a message lost or doubled; a worker killed (with or without an errback); an errback while
the worker lives; a lease that runs out while a worker or a message is alive (pause, backlog, zombie); a database crash
that takes the commits that did not wait; a provider that is unavailable, loses the answer, or applies the request later;
a charge of another amount, a refund of a part, a charge that support gives back;
a circuit that opens because of other orders; a key window that ends; a parcel handed over early; a refund refused; a retry by an operator. Free: order of messages,
speed of workers, stock and card decisions, when a late request lands, one cancel by the customer, that a circuit closes or sends this order ahead.
"""

from __future__ import annotations

from typing import Iterator

from tests.proofs.model.saga_model import DO_BUDGET, asked_before, before_an_open_circuit, current, held, launch, take_over
from tests.proofs.model.saga_state import (
    NAMES,
    PAYMENT,
    SHIPPING,
    Entry,
    Journal,
    Message,
    Provider,
    Rules,
    Worker,
    World,
    commit,
    publish,
    put,
    without,
    worker_moves_on,
)
from tests.proofs.model.saga_tasks import receive, record_outcome, transact

# --- the provider -----------------------------------------------------------------------------------------------------


def apply_do(rules: Rules, provider: Provider, step: int, key: str) -> Iterator[tuple[str, Provider]]:
    """A charge or a label: a tombstone refuses it, a remembered key repeats its answer, else it is decided now."""
    if key in provider.tombs:
        yield "rejected", provider
        return
    known = dict(provider.memory).get(key)
    if known and rules.provider_keys:
        yield known, provider
        return
    remember = provider.memory | {(key, "ok")}
    yield "ok", provider._replace(ledger=tuple(sorted(provider.ledger + (Entry(step, key),))), memory=remember)
    rejected = provider.memory | ({(key, "rejected")} if rules.keeps_rejections else set())
    yield "rejected", provider._replace(memory=rejected)


def apply_compensation(rules: Rules, provider: Provider, worker: Worker) -> Iterator[tuple[str, Provider]]:
    """Refund or cancel by receipt; blind: by the key of the step, so that a late landing finds a tombstone."""
    if worker.careful and rules.blind_compensation == "burn" and not any(e.key == worker.key for e in provider.ledger):
        decided = [after for _, after in apply_do(rules, provider, worker.step, worker.key)]
    else:
        decided = [provider]
    for after in decided:
        found = [e for e in after.ledger if e.step == worker.step and e.key == worker.key and e.open]
        if found and worker.step == SHIPPING and after.handed_over:
            yield "rejected", after
            continue
        closed = tuple(sorted(e._replace(open=False) if e in found else e for e in after.ledger))
        leave_tomb = worker.careful and rules.blind_compensation == "tombstone"
        yield "ok", after._replace(ledger=closed, tombs=after.tombs | ({worker.key} if leave_tomb else set()))


def call(rules: Rules, world: World, worker: Worker) -> Iterator[tuple[str, World]]:
    """The call and all that can become of it."""
    provider, name = world.provider, f"{'compensate ' if worker.compensating else ''}{NAMES[worker.step]} e{worker.epoch}"

    def answered(text: str, answer: str, after: Provider, cost: int = 0) -> tuple[str, World]:
        moved = worker_moves_on(world, worker, worker._replace(pc="record", answer=answer))
        return f"{name}: {text}", moved._replace(provider=after, faults=world.faults + cost)

    if worker.careful and not worker.compensating and (worker.key in provider.expired or not rules.provider_keys):
        if any(e.key == worker.key for e in provider.ledger):
            shown = shows_now(provider, worker, "ok")
            yield answered("look-up finds it", shown, provider)
            return
        if (worker.step, worker.key) in provider.air:
            yield answered("look-up finds nothing yet, the lag is not over", "doubt", provider)
            return
    applied = apply_compensation(rules, provider, worker) if worker.compensating else apply_do(rules, provider, worker.step, worker.key)
    outcomes = list(applied)
    for answer, after in outcomes:
        checked = shows_now(after, worker, answer) if rules.replay_is_checked and worker.again and not worker.compensating else answer
        yield answered(f"provider answers {answer}", checked, after)
    if not worker.compensating and (worker.step, worker.key) in provider.air:
        yield answered("provider answers 409, in progress", "doubt" if rules.busy_is_doubt else "unavailable", provider)
    if world.faults < rules.max_faults:
        yield answered("provider is unavailable", "unavailable", provider, 1)
        yield answered("applied, but the answer is lost", "doubt", outcomes[0][1], 1)
        if not worker.compensating:
            air = tuple(sorted(provider.air + ((worker.step, worker.key),)))
            yield answered("no answer, the request is still in the air", "doubt", provider._replace(air=air), 1)
            if worker.step == PAYMENT and outcomes[0][0] == "ok" and outcomes[0][1].ledger != provider.ledger:
                yield answered("provider takes another amount", "other", of_another_amount(outcomes[0][1], worker.key), 1)
        elif outcomes[0][0] == "ok":
            yield answered("provider refuses the compensation", "rejected", provider, 1)
            if worker.step == PAYMENT and outcomes[0][1].ledger != provider.ledger:
                yield answered("provider gives back a part", "part", provider, 1)


def shows_now(provider: Provider, worker: Worker, answer: str) -> str:
    """What has become of the effect under this key since: given back, it counts as refused."""
    mine = [e for e in provider.ledger if (e.step, e.key) == (worker.step, worker.key)]
    if answer not in ("ok", "other") or not mine:
        return answer
    if not any(e.open for e in mine):
        return "rejected"
    return "ok" if all(e.whole for e in mine) else "other"


def of_another_amount(provider: Provider, key: str) -> Provider:
    """The charge that has just been made, and what is remembered of it."""
    ledger = tuple(sorted(e._replace(whole=False) if (e.step, e.key) == (PAYMENT, key) else e for e in provider.ledger))
    return provider._replace(ledger=ledger, memory=frozenset(provider.memory - {(key, "ok")} | {(key, "other")}))


# --- what may happen next ---------------------------------------------------------------------------------------------


def moves(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """Every next state with a sentence for the trace."""
    for message in set(world.inbox):
        yield from receive(rules, world, message)
    for worker in set(world.workers):
        yield from (call if worker.pc == "call" else record_outcome)(rules, world, worker)
    yield from late_landings(rules, world)
    yield from wake_ups(rules, world)
    if world.out:
        yield from circuits(rules, world)
    if not world.asked:
        yield from cancel(rules, world)
    if world.faults < rules.max_faults:
        yield from faults(rules, world._replace(faults=world.faults + 1))


def late_landings(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """A request whose caller gave up lands after all, or never."""
    for step, key in set(world.provider.air):
        landed = world.provider._replace(air=without(world.provider.air, (step, key)))
        yield f"the request {key} in the air gets lost", world._replace(provider=landed)
        for answer, after in apply_do(rules, landed, step, key):
            yield f"the request {key} lands late: {answer}", world._replace(provider=after)


def wake_ups(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """The sweep. Free when nothing of this epoch can move any more; else the lease ran out on the living: a fault."""
    journal = world.journal
    if not journal.wake:
        return
    alive = any(thing.epoch == journal.epoch for thing in world.inbox + world.workers)
    if alive and world.faults >= rules.max_faults:
        return
    if before_an_open_circuit(rules, world):
        waiting = held(rules, world)
        if waiting != journal:
            yield "sweep holds it before the open circuit", transact(rules, world._replace(faults=world.faults + alive), waiting, True)
        return
    if rules.send_deadline == "lease":
        world = world._replace(workers=tuple(sorted(past_its_lease(journal, worker) for worker in world.workers)))
    swept = transact(rules, world._replace(faults=world.faults + alive), take_over(rules, journal), True)
    yield "sweep takes over" + (", too early" if alive else ""), swept


def circuits(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """The provider answers somebody again, and the circuit closes; or this order is sent ahead to see."""
    yield "the circuit closes", world._replace(out=False, out_since_scheduled=False, probe=False)
    alive = any(thing.epoch == world.journal.epoch for thing in world.inbox + world.workers)
    if alive or not before_an_open_circuit(rules, world):
        return
    record = world.journal.steps[current(world.journal)[0]]
    if record.state != "started" and record.tries < DO_BUDGET:  # nobody's budget ends it, but somebody else's turn does
        yield "it is sent ahead as the probe", transact(rules, world, probed(rules, world.journal), True)._replace(probe=True)


def probed(rules: Rules, journal: Journal) -> Journal:
    """Scheduled under the next epoch, whatever its budget; where it is scheduled already, the same message again."""
    step, _ = current(journal)
    record = journal.steps[step]
    if record.state == "scheduled":
        return journal
    raised = record.state != "pending"
    return put(journal, step, record._replace(state="scheduled", claim=0), epoch=journal.epoch + raised, wake=True)


def past_its_lease(journal: Journal, worker: Worker) -> Worker:
    """A worker that knows its lease, and wakes up after it: it does not send."""
    leased = {record.claim for record in journal.steps if record.state in ("started", "compensation_started")}
    late = worker.pc == "call" and worker.claim in leased
    return worker._replace(pc="record", answer="doubt") if late else worker


def cancel(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """The customer asks once; after a terminal state the answer is no."""
    if world.journal.saga == "running":
        cancelled = commit(world, world.journal._replace(cancel=True), rules.cancel_waits)
        yield "the customer cancels", cancelled._replace(asked=True)


def faults(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """What the world does to us; ``world`` has the fault already counted."""
    for message in set(world.inbox):
        lost = world._replace(inbox=without(world.inbox, message))
        yield f"message {message.kind} {NAMES[message.step]} e{message.epoch} is lost", lost
        yield f"message {message.kind} {NAMES[message.step]} e{message.epoch} is doubled", publish(world, message)
    for worker in set(world.workers):
        name, errback = f"{NAMES[worker.step]} e{worker.epoch}", Message("failed", worker.step, worker.epoch)
        killed = worker_moves_on(world, worker, None)
        yield f"worker of {name} is killed before its {worker.pc}", killed
        yield f"worker of {name} is killed before its {worker.pc}, errback", publish(killed, errback)
        yield f"errback of {name} fires while its worker lives", publish(world, errback)
    for journal in set(world.past):
        yield "database crash, commits that did not wait are lost", world._replace(journal=journal, past=())
    if world.journal.saga == "attention":
        resumed = world.journal._replace(saga="compensating", epoch=world.journal.epoch + 1, wake=True)
        step = next(k for k in (2, 1, 0) if resumed.steps[k].state not in ("compensated", "not_needed"))
        fresh = put(resumed, step, resumed.steps[step]._replace(state="compensation_scheduled", tries=0))
        yield "an operator retries with a fresh budget", publish(commit(world, fresh, waits=True), launch(fresh))
    if world.journal.saga == "running" and not world.out:
        yield "the circuit opens: other orders have failed", world._replace(out=True, out_since_scheduled=False)
    provider = world.provider
    for key in {key for key, _ in provider.memory} - provider.expired:
        about_to_send = any(w.pc == "call" and w.key == key for w in world.workers)
        if not (rules.send_deadline != "never" and about_to_send or any(k == key for _, k in provider.air)):
            memory = frozenset(item for item in provider.memory if item[0] != key)
            forgotten = provider._replace(memory=memory, expired=provider.expired | {key})
            yield f"the key window of {key} ends", world._replace(provider=forgotten)
    yield from support_refunds(world)
    if not provider.handed_over and any(e.step == SHIPPING and e.open for e in provider.ledger):
        yield "the parcel is handed over", world._replace(provider=provider._replace(handed_over=True))


def support_refunds(world: World) -> Iterator[tuple[str, World]]:
    """At the provider's own pages, of a charge about which the journal knows that it has asked; by then its commits are on the disk. Not once an answer about it
    is on its way into the journal, or there: what is refunded then, nobody can know.
    """
    journal, provider = world.journal, world.provider
    payment = journal.steps[PAYMENT]
    was_asked = asked_before(payment) and payment.state in ("scheduled", "in_doubt", "retry_wait")
    if journal.saga in ("running", "completed") and not was_asked:
        return
    if any(worker.step == PAYMENT and not worker.compensating for worker in world.workers):
        return
    if any(e.step == PAYMENT and e.open for e in provider.ledger):
        ledger = tuple(sorted(e._replace(open=False) if e.step == PAYMENT else e for e in provider.ledger))
        yield "support gives the charge back", world._replace(provider=provider._replace(ledger=ledger), past=())
