"""``python -m tests.orders.reference.fuzz``: generated requests against a running shop, until there are enough. The short form is a test.

Exit 0: no failure. 1: at least one, each printed with the request that repeats it. The last line has the figures.
"""

import argparse
import itertools
import sys
import time

from config.settings import running_stack
from tests.fuzz.reference import fuzz

PROGRESS_EVERY = 500


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.orders.reference.fuzz", description=__doc__)
    words.add_argument("--requests", type=int, default=10_000, help="at least so many (default: %(default)s)")
    words.add_argument("--seed", type=int, default=1, help="of the first round; each round adds one (default: %(default)s)")
    words.add_argument(
        "--examples", type=int, default=100, help="generated requests of each operation and phase of a round (default: %(default)s)"
    )
    words.add_argument("--url", help="the shop's address (default: the running stack of this checkout)")
    words.add_argument("--token", help="of an API client (default: the running stack's)")
    given = words.parse_args()
    stack = running_stack()
    url, token = given.url or stack.get("web"), given.token or stack.get("token")
    if not url or not token:
        words.error("nothing runs here: start it with `make up`, or give --url and --token")
    return _run(url, f"Bearer {token}", given.seed, given.examples, given.requests)


def _run(url: str, authorization: str, seed: int, examples: int, enough: int) -> int:
    began, requests, failures, shown = time.monotonic(), 0, 0, 0
    for round_seed in itertools.count(seed):
        for told in fuzz(url, authorization, round_seed, examples):
            requests, failures = requests + told.requests, failures + len(told.failures)
            for failure in told.failures:
                print(f"seed {round_seed}: {failure}", flush=True)
            if requests // PROGRESS_EVERY > shown:
                shown = requests // PROGRESS_EVERY
                print(f"{requests} requests, {failures} failures, {time.monotonic() - began:.0f} s", flush=True)
        if requests >= enough:
            print(f"{requests} requests in {round_seed - seed + 1} rounds, {failures} failures, {time.monotonic() - began:.0f} s")
            return 1 if failures else 0
    raise AssertionError("rounds have no end")


if __name__ == "__main__":
    sys.exit(main())
