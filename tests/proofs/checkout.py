"""A copy of this checkout's code, proofs included, to be changed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.proofs.black_box.stack import FOLDER

CODE = ("config", "fulfillment", "orders", "sideeffects", "tests/__init__.py", "tests/proofs", "manage.py")


def copy_code(folder: Path, names: Sequence[str] = CODE) -> None:
    """Of this release, with the bytecode, so that no process compiles it again; but for what is being written there just now."""
    for name in names:
        source = FOLDER / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.pyc.*"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, folder / name)
