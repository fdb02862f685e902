"""The shop's settings, with providers and subscribers of the bench. The variables are those of any process of the shop."""

from pathlib import Path

from config import settings as of_the_shop
from config.settings import *  # noqa: F403
from sideeffects import subscribers
from tests.bench.peers.programs import program
from tests.bench.peers.programs.ours.subscribers import PACKAGES

SUBSCRIBERS_DIR = Path(program.FOLDER) / "subscribers"
subscribers.__path__[:] = [str(SUBSCRIBERS_DIR)]  # a subscriber is a package there
_others = ("sideeffects.subscribers.", "tests.")
INSTALLED_APPS = [
    *(app for app in of_the_shop.INSTALLED_APPS if not app.startswith(_others)),
    *PACKAGES,
    "tests.bench.peers.programs.ours",
]
PAYMENTS_GATEWAY = CARRIER_GATEWAY = "bench"
