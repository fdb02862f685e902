"""Many requests against a PostgreSQL and a gunicorn process of its own below ``.run/fuzz``: as raw bytes (wire), or made from the API's reference.

The last line has the figures. Exit 1: a failure, a traceback in a log, or too few requests.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.engines import ROOT
from tests.fuzz import reference, rounds
from tests.fuzz.figures import Told, collect, shortcomings
from tests.fuzz.server import Server, Shop, shop

FOLDER = ROOT / ".run" / "fuzz"


@dataclass(frozen=True)
class Fuzzer:
    """``requests``: how many, unless said otherwise. ``rounds``: of requests to this server, from this seed on, without an end."""

    sends: str
    requests: int
    rounds: Callable[[Shop, int, int], Iterator[Any]]


def _on_the_wire(shop: Shop, port: int, seed: int) -> Iterator[list[Told]]:
    return rounds.rounds(port, shop.token, seed)


def _from_the_reference(shop: Shop, port: int, seed: int) -> Iterator[Iterator[Told]]:
    return reference.rounds(f"http://127.0.0.1:{port}", reference.callers(shop), seed)


FUZZERS = {
    "wire": Fuzzer("bytes of any kind, on raw sockets", 20_000, _on_the_wire),
    "reference": Fuzzer("requests that the API's reference allows, and some that it does not", 10_000, _from_the_reference),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, fuzzer in FUZZERS.items():
        words = names.add_parser(name, help=fuzzer.sends, description=f"Sends {fuzzer.sends}.")
        words.add_argument("--requests", type=int, default=fuzzer.requests, help="at least so many (default: %(default)s)")
        words.add_argument("--seed", type=int, default=int(time.time()), help="the same seed sends the same requests (default: the time)")
    asked = parser.parse_args()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # as Ctrl-C: what was started is stopped; hypothesis would take SystemExit for a failure
    return _run(FUZZERS[asked.name], asked.name, asked.requests, asked.seed)


def _run(fuzzer: Fuzzer, name: str, wanted: int, seed: int) -> int:
    begun, folder = time.monotonic(), FOLDER / name
    print(f"{name}, seed {seed}: the shop starts", flush=True)
    with shop(folder) as made, Server(made.database, folder) as server:
        figures = collect(fuzzer.rounds(made, server.port, seed), wanted, lambda line: print(line, flush=True))
        logged, odd = server.answered(), server.odd_lines() + server.errors_of_the_database()
    wrong = shortcomings(figures, wanted, logged, odd)
    for line in wrong[:20]:
        print(line)
    took = f"seed {seed}, {time.monotonic() - begun:.0f} s"
    print(f"{name}: {figures}, {logged:,} answers in the server's log, {len(odd)} tracebacks or errors in the logs ({took})")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
