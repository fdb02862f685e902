"""The environment in which the others run: what they need, in pinned versions, apart from the shop's own."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.peers.catalogue import Peer

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class Environments:
    """``folder``: of the others' environment. None: everybody runs with this Python, which has the same Celery and Django, and neither DBOS nor Procrastinate."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def install(self) -> None:
        """Once for each list of requirements. Raises CalledProcessError: pip says why."""
        if self._folder is None or (self._stamp(self._folder)).exists():
            return
        print("installing the peers (once)", flush=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(self._folder)], check=True)
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run([str(self._folder / "bin" / "python"), *words], check=True)
        self._stamp(self._folder).touch()

    def python_of(self, peer: Peer) -> str:
        return sys.executable if peer.is_ours or self._folder is None else str(self._folder / "bin" / "python")

    def _stamp(self, folder: Path) -> Path:
        return folder / f"has-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
