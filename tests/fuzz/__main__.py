"""``python -m tests.fuzz --requests 20000``: a PostgreSQL and a gunicorn process of its own under ``.run/fuzz``, and so many requests. Exit 1 if any fails."""

import argparse
import sys
import time

from tests.engines import ROOT
from tests.fuzz.rounds import Result, fuzz
from tests.fuzz.server import Server, shop

FOLDER = ROOT / ".run" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed sends the same requests")
    asked = parser.parse_args()
    with shop(FOLDER) as (database, token), Server(database, FOLDER) as server:
        result = fuzz(server.port, token, asked.requests, asked.seed, lambda line: print(line, flush=True))
        odd = server.odd_lines()
    _tell(result, odd, asked.seed)
    return int(bool(result.failures or odd))


def _tell(result: Result, odd: list[str], seed: int) -> None:
    for line in odd[:20]:
        print(f"in the log: {line}")
    statuses = ", ".join(f"{status}: {times:,}" for status, times in sorted(result.statuses.items()))
    print(
        f"{result.requests:,} requests (seed {seed}): {len(result.failures)} failures, {len(odd)} odd lines in the log; answers {statuses}"
    )


if __name__ == "__main__":
    sys.exit(main())
