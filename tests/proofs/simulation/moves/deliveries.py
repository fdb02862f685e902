"""Messages and workers: delivered, lost, doubled; going on from boundary to boundary, or killed there."""

import traceback

from django.db import DatabaseError

from fulfillment import tasks
from fulfillment.errors import Rejected
from orders.database import is_unusable
from tests.proofs.simulation.broker import Message
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.interruptions import ConnectionBroke
from tests.proofs.simulation.threads import Killed, WorkerThread

PAUSES = ("before_start", "after_start", "before_call", "after_call", "after_outcome_commit", "before_publish")


class Deliveries:
    def __init__(self, state: HistoryState) -> None:
        self.state = state

    def deliver(self, worker: WorkerThread) -> str:
        message = self.state.broker.take(self.state.rng.randrange(len(self.state.broker.messages)))
        self.state.carried[worker] = message
        worker.begin(lambda: self._work(worker, message))
        return f"{message} is delivered" + self._stands(worker)

    def go_on(self, worker: WorkerThread) -> str:
        at, message = worker.at, self.state.carried[worker]
        worker.resume()
        return f"{message} goes on from {at}" + self._stands(worker)

    def _stands(self, worker: WorkerThread) -> str:
        return f", stands {worker.at}" if worker.at else f": {worker.outcome}"

    def kill(self, worker: WorkerThread) -> str:
        at, message = worker.at, self.state.carried[worker]
        worker.kill()
        self.state.begin_a_process()
        heard = self.state.rng.random() < 0.5
        if heard and not message.errback:
            self.state.broker.put(message.failed())
        return f"{message} is killed {at}" + (", errback" if heard else "")

    def spurious_errback(self, worker: WorkerThread) -> str:
        message = self.state.carried[worker]
        if not message.errback:
            self.state.broker.put(message.failed())
        return f"an errback of {message} fires while it lives"

    def lose(self) -> str:
        return f"{self.state.broker.take(self.state.rng.randrange(len(self.state.broker.messages)))} is lost"

    def double(self) -> str:
        message = self.state.rng.choice(self.state.broker.messages)
        self.state.broker.put(message)
        return f"{message} is doubled"

    # --- a worker's work ---

    def _work(self, worker: WorkerThread, message: Message) -> str:
        with self.state.equipment.watching():
            task = tasks.failed if message.errback else tasks.TASKS[f"fulfillment.{message.task}"]
            task.push_request(chain=[] if message.errback else message.chain(), id=str(message))
            try:
                outcome = task.run(**message.arguments())
                left = len(task.request.chain or ())
            except Rejected as error:
                self.state.broker.put(message.failed())
                return f"raised {type(error).__name__}, errback"
            except DatabaseError as error:
                if not isinstance(error, ConnectionBroke) and not is_unusable(error):
                    self.state.breach(f"{message} raised {type(error).__name__}: {error} ({traceback.format_exc(limit=-3)})")
                if not message.errback:
                    self.state.broker.put(message.failed())
                return "its line to the database broke, errback"
            except Exception as error:
                self.state.breach(f"{message} raised {type(error).__name__}: {error} ({traceback.format_exc(limit=-3)})")
                return f"raised {type(error).__name__}"
            finally:
                task.pop_request()
            if follow := message.follow(left):
                worker.pause("before_publish")
                self.state.clock.set_in_the_database()
                self.state.broker.put(follow)
            return str(outcome)

    def boundary(self, boundary: str) -> None:
        """Called by the engine: a worker stands still here; inside a transaction, and in the sweep, it may only die."""
        here = next((worker for worker in self.state.workers if worker.is_here()), None)
        if here is not None and boundary in PAUSES:
            here.pause(boundary)
            self.state.clock.set_in_the_database()
        elif not self.state.is_undisturbed and boundary != "open" and self.state.rng.random() < 0.04 * self.state.faultiness:
            raise Killed
