"""``python -m tests.bench accept`` or ``disturbed``; without a name one after the other. Each opens a shop of its own under ``.run/bench``.

Exit 1: a request failed, or nothing was measured. A figure above its goal is shown, and is no failure.
"""

import argparse
import sys
from pathlib import Path

from config.stack.stop_signals import handle_signals
from tests.bench import accept, disturbed
from tests.bench.phases import Asked
from tests.engines import ROOT

SHOWS = {"accept": accept.show, "disturbed": disturbed.show}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("shows", nargs="*", type=_name, metavar="SHOW", default=[*SHOWS], help=f"{', '.join(SHOWS)}; or both (default)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase of a round")
    parser.add_argument("--flood", type=int, default=200, help="so many orders are placed to find the saturation")
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "bench", help="the run directory of the shop; it is emptied")
    words = vars(parser.parse_args())
    shows = words.pop("shows")
    handle_signals()
    try:
        return max(SHOWS[name](Asked(**words)) for name in shows)
    except KeyboardInterrupt:
        print("Interrupted: nothing is shown.", file=sys.stderr)
        return 1


def _name(word: str) -> str:
    if word not in SHOWS:
        raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(SHOWS)}")
    return word


if __name__ == "__main__":
    sys.exit(main())
