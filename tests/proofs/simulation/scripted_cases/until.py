"""How far a scripted case goes: until somebody stands at a boundary, until a worker has ended, until nothing is left in the queues."""

from functools import partial

from tests.proofs.simulation.history import History
from tests.proofs.simulation.threads import WorkerThread


def go_until(history: History, task: str, boundary: str) -> WorkerThread:
    """Messages are delivered and workers go on, those that stand still on purpose excepted, until one stands there in this task."""
    standing = [worker for worker in history.workers if not worker.is_idle]
    for _ in range(60):
        for worker in history.workers:
            if worker in standing:
                continue
            if worker.at == boundary and history.carried[worker].task == task:
                return worker
            if not worker.is_idle:
                history.act("go on", partial(history.deliveries.go_on, worker))
            elif history.broker.messages:
                history.act("deliver", partial(history.deliveries.deliver, worker))
    raise LookupError(f"{task} never stood {boundary}")


def run_out(history: History, worker: WorkerThread) -> None:
    """This worker goes on to the end of its task."""
    while not worker.is_idle and not history.verdict.breach:
        history.act("go on", partial(history.deliveries.go_on, worker))


def deliver_all(history: History) -> None:
    """Nobody stands still, and nothing is left in the queues."""
    for _ in range(60):
        busy = next((worker for worker in history.workers if not worker.is_idle), None)
        if busy is not None:
            history.act("go on", partial(history.deliveries.go_on, busy))
        elif history.broker.messages:
            history.act("deliver", partial(history.deliveries.deliver, history.workers[0]))
        else:
            return
