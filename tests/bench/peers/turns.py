"""Short bursts in turns: everybody is started once, and all but one are paused.

A machine is fast and slow from second to second, so runs of which one takes half a minute compare badly. Here neighbours are seconds apart.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tests.bench.peers.catalogue import Peer
from tests.bench.peers.measuring import Burst, Measured, burst_of
from tests.bench.peers.rounds import Found, Shown, line
from tests.bench.peers.running import RunningPeer, running
from tests.bench.peers.servers import PeerFailed, Servers

AWAKE_AFTER_S = 0.5
PART = 6  # of the orders of a whole burst


def run_turns(servers: Servers, peers: Sequence[Peer], python_of: Callable[[Peer], str], turns: int, orders: int) -> Found:
    """``orders``: of each turn; 0: a part of those of a whole burst. A peer that fails ends everything."""
    bursts: dict[str, list[Burst | None]] = defaultdict(list)
    failures: list[str] = []
    try:
        with ExitStack() as everybody:
            started = [_started(servers, peer, python_of(peer), number, everybody) for number, peer in enumerate(peers)]
            with Shown(turns * len(peers)) as shown:
                for turn in range(turns):
                    for peer_runs in started if turn % 2 == 0 else reversed(started):
                        burst = _turn(peer_runs, orders or peer_runs.peer.orders // PART)
                        bursts[peer_runs.peer.name].append(burst)
                        shown.say(f"turn {turn + 1} of {turns}, {peer_runs.peer.name}: {line(Measured(burst=burst, calm=None))}")
    except PeerFailed as failed:
        failures.append(str(failed))
        print(f"It ends here: {failed}", flush=True)
    return Found(bursts=bursts, calms={}, failures=failures)


def _started(servers: Servers, peer: Peer, python: str, number: int, everybody: ExitStack) -> RunningPeer:
    peer_runs = everybody.enter_context(running(servers, peer, python, number))
    peer_runs.workers.pause()
    return peer_runs


def _turn(peer_runs: RunningPeer, orders: int) -> Burst:
    peer_runs.workers.go_on()
    time.sleep(AWAKE_AFTER_S)
    burst = burst_of(peer_runs, peer_runs.submit(orders))
    peer_runs.workers.pause()
    return burst
