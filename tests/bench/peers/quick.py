"""``--quick``: short turns of ours, DBOS and raw Celery, judged by the ratios that are kept in ``reference.json``."""

import json
from pathlib import Path

from tests.bench.peers.catalogue import DBOS, OURS, RAW
from tests.bench.peers.rounds import MARKED_ABOVE, Found

KEPT = Path(__file__).with_name("reference.json")
MAY_LOSE = 0.1
TURNS = 8


def ratios(found: Found) -> dict[str, float]:
    """Orders that a CPU-second gives, beside the other's."""
    by_base = {base: found.ratio(OURS, base) for base in (DBOS, RAW)}
    return {base: round(ratio, 3) for base, ratio in by_base.items() if ratio is not None}


def keep(found: Found) -> None:
    KEPT.write_text(json.dumps(ratios(found), indent=2) + "\n")


def disturbed(found: Found) -> bool:
    """In most runs others used too much of the machine: what was found says little."""
    return found.marked > len(found.runs) / 2


def judged(found: Found) -> tuple[list[str], bool]:
    """A sentence for each base, and whether none has become worse by more than a tenth."""
    if disturbed(found):
        return [
            f"Not judged: others used more than {MARKED_ABOVE:.0%} of the machine most of the time. Run it again when they have ended."
        ], False
    kept: dict[str, float] = json.loads(KEPT.read_text())
    now = ratios(found)
    lines = [f"orders per CPU-second, ours beside {base}: {now.get(base, 0.0):.2f}; kept: {kept[base]:.2f}" for base in kept]
    return lines, all(now.get(base, 0.0) >= ratio * (1 - MAY_LOSE) for base, ratio in kept.items())
