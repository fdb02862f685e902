"""``python -m tests.edge.slow_clients``: how long clients wait while twenty others send slowly; for this shop's worker, and for gunicorn's own."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator

from tests.edge.talking import asked, head, line_to
from tests.engines import ROOT
from tests.fuzz.server import Server, shop

FOLDER = ROOT / ".run" / "slow"
SLOW, ASKED, GIVE_UP_S = 20, 100, 30.0
WORKERS = {"ours": "", "gunicorn's own": "--worker-class gthread"}
BEGINNINGS = {"heads": b"GET /healthz HTTP/1.1\r\nHost: local", "bodies": head("POST /api/v1/orders", "Content-Length: 100000") + b"{"}


def main() -> None:
    with shop(FOLDER) as made:
        for worker, words in WORKERS.items():
            with Server(made.database, FOLDER, GUNICORN_CMD_ARGS=words) as server:
                print(f"{worker}, undisturbed: {_waited(server.port)}", flush=True)
                for what, beginning in BEGINNINGS.items():
                    with _slow(server.port, beginning):
                        print(f"{worker}, {SLOW} slow {what}: {_waited(server.port)}", flush=True)


@contextlib.contextmanager
def _slow(port: int, beginning: bytes) -> Iterator[None]:
    """Each sends one byte a second, and comes again when it is closed."""
    is_over = threading.Event()
    threads = [threading.Thread(target=send_slowly, args=(port, beginning, is_over)) for _ in range(SLOW)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def send_slowly(port: int, beginning: bytes, is_over: threading.Event) -> int:
    """Returns how many connections it took."""
    connections = 0
    while not is_over.is_set():
        connections += 1
        with contextlib.suppress(OSError), line_to(port) as line:
            line.sendall(beginning)
            while not is_over.wait(1):
                line.sendall(b"x")
    return connections


def _waited(port: int) -> str:
    took: list[float] = []
    begun = time.monotonic()
    while len(took) < ASKED and time.monotonic() - begun < GIVE_UP_S:
        asked_at = time.monotonic()
        with contextlib.suppress(OSError), line_to(port) as line:
            line.settimeout(GIVE_UP_S)
            asked(line, head("GET /healthz"))
            took.append((time.monotonic() - asked_at) * 1000)
    if len(took) < 2:
        return f"{len(took)} answers within {GIVE_UP_S:g} s"
    return f"{len(took)} answers, p50 {statistics.median(took):.1f} ms, p95 {statistics.quantiles(took, n=20)[-1]:.1f} ms"


if __name__ == "__main__":
    main()
