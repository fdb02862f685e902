"""The process that places orders for a peer: one for as long as the peer runs, so that its start costs no order anything."""

import contextlib
import selectors
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.peers.catalogue import Peer
from tests.bench.peers.servers import PeerFailed, Place
from tests.engines import ROOT

READY_WITHIN_S = 120.0


class Submitter:
    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log
        self._read(READY_WITHIN_S)

    def submit(self, first: int, orders: int, per_s: float, within_s: float) -> float:
        """The CPU seconds that placing took. Raises PeerFailed."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{first} {orders} {per_s}\n")
            self._process.stdin.flush()
        return float(self._read(within_s))

    def _read(self, within_s: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(within_s) else ""
        if not line:
            raise PeerFailed(f"no order could be placed:\n{self._log.read_text(errors='replace')[-2000:]}")
        return line


@contextlib.contextmanager
def submitter(peer: Peer, python: str, place: Place) -> Iterator[Submitter]:
    """Raises PeerFailed: it did not start."""
    log = place.folder / "submit.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [python, "-m", peer.module, "submit"],
            cwd=ROOT,
            env=place.variables(peer),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield Submitter(process, log)
    finally:
        process.kill()
        process.communicate()
