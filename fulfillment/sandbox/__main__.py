"""``python -m fulfillment.sandbox``: as a stack runs it, without Django, whose start takes longer than its own. For people there is ``manage.py sandbox``."""

import argparse
import logging
import sys
from pathlib import Path

from fulfillment.sandbox.server import CannotStart, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m fulfillment.sandbox", description="Play payment providers and carriers, for a demo.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--time-scale", type=float, required=True)
    asked = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")
    try:
        run(asked.port, asked.ledger, asked.time_scale, demo_values=True)
    except CannotStart as fault:
        sys.exit(str(fault))
