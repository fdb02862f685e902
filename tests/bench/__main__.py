"""``python -m tests.bench accept``, ``disturbed``, ``peers`` or ``scale``; without a name one after the other, but ``scale``, which takes hours. Each opens what it
needs under ``.run/bench``.

Examples: ``python -m tests.bench peers --peers ours,raw,dbos --rounds 3``, ``python -m tests.bench scale --sizes 0,100000 --backlog 1000``.

Exit 1: something failed, or nothing was measured. A figure above its goal is shown, and is no failure; only ``peers --quick`` fails when the shop has become slower
beside the others.
"""

import argparse
import sys
from pathlib import Path

from config.stack.stop_signals import handle_signals
from tests.bench import accept, disturbed
from tests.bench.peers import catalogue
from tests.bench.peers.show import PeersAsked
from tests.bench.peers.show import show as show_peers
from tests.bench.phases import Asked
from tests.bench.scale.found import ScaleAsked
from tests.bench.scale.show import show as show_scale
from tests.engines import ROOT


def _of_the_api(words: argparse.Namespace) -> Asked:
    return Asked(folder=words.folder / "shop", rounds=words.rounds, seconds=words.seconds, flood=words.flood)


def _of_peers(words: argparse.Namespace) -> PeersAsked:
    return PeersAsked(
        folder=words.folder / "peers",
        names=words.peers,
        rounds=words.rounds,
        seconds=words.seconds,
        orders=words.orders,
        is_quick=words.quick,
        is_here=words.here,
        writes=words.write,
        keeps=words.keep,
    )


def _of_scale(words: argparse.Namespace) -> ScaleAsked:
    return ScaleAsked(
        folder=words.folder / "scale",
        sizes=words.sizes,
        orders=words.orders or BURST,
        rounds=words.rounds,
        backlog=words.backlog,
        wiped=words.wiped,
        killed=words.killed,
        due=words.due,
        workers=words.workers,
        writes=words.write,
    )


BURST = 300
USUAL = ("accept", "disturbed", "peers")
SHOWS = {
    "accept": lambda words: accept.show(_of_the_api(words)),
    "disturbed": lambda words: disturbed.show(_of_the_api(words)),
    "peers": lambda words: show_peers(_of_peers(words)),
    "scale": lambda words: show_scale(_of_scale(words)),
}


def main() -> int:
    words = _parser().parse_args()
    handle_signals()
    try:
        return max(SHOWS[name](words) for name in words.shows)
    except KeyboardInterrupt:
        print("Interrupted: nothing is shown.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "shows", nargs="*", type=_name, metavar="SHOW", default=[*USUAL], help=f"{', '.join(SHOWS)}; all but scale (default)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase of a round; of peers: of the slow orders, 0: none")
    parser.add_argument("--folder", type=Path, default=ROOT / ".run" / "bench", help="what each show makes there is made anew")
    parser.add_argument("--flood", type=int, default=200, help="accept: so many orders are placed to find the saturation")
    peers = parser.add_argument_group("peers")
    peers.add_argument("--peers", type=_peers, default=[*catalogue.BY_NAME], metavar="NAMES", help=f"of {', '.join(catalogue.BY_NAME)}")
    peers.add_argument("--orders", type=int, default=0, help="of each burst, of scale too; 0 (default): as many as take about ten seconds")
    peers.add_argument("--quick", action="store_true", help="one round of ours, raw and dbos, judged by the ratios that are kept")
    peers.add_argument("--here", action="store_true", help="install nothing: for peers that need nothing but Celery and Django")
    peers.add_argument("--write", action="store_true", help="write docs/performance.md anew; of scale: docs/scaling.md")
    peers.add_argument("--keep", action="store_true", help="with --quick: judge later ones by the ratios of this one")
    scale = parser.add_argument_group("scale")
    scale.add_argument(
        "--sizes", type=_numbers, default=(0, 100_000, 1_000_000), help="so many finished orders are there, growing: 0,100000,1000000"
    )
    scale.add_argument("--workers", type=_numbers, default=(1, 2, 4), help="processes of the pool, one run each")
    scale.add_argument("--backlog", type=int, default=10_000, help="orders that wait in the queue")
    scale.add_argument("--wiped", type=int, default=1_000, help="orders whose messages the broker loses")
    scale.add_argument("--killed", type=int, default=1_000, help="orders in flight when all workers, sweep and relay are killed")
    scale.add_argument("--due", type=int, default=20_000, help="deliveries that one relay publishes")
    return parser


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split(","))


def _name(word: str) -> str:
    if word not in SHOWS:
        raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(SHOWS)}")
    return word


def _peers(words: str) -> list[str]:
    unknown = [word for word in words.split(",") if word not in catalogue.BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose of {', '.join(catalogue.BY_NAME)}")
    return words.split(",")


if __name__ == "__main__":
    sys.exit(main())
