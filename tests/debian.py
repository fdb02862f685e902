"""What tests need of the distribution, installed where that is possible: on Debian, as root."""

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")
INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends"


def install(packages: str) -> None:
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["sh", "-c", f"{INSTALL} {packages}"], check=False, timeout=300, capture_output=True)


def needed(find: Callable[[], Found | None], packages: str, what: str) -> Found:
    """What ``find`` finds, after installing if need be. Else skips with the reason, or fails where nothing may be skipped (CI=true)."""
    found = find()
    if not found:
        install(packages)
        found = find()
    if found:
        return found
    reason = f"There is no {what}, and it could not be installed: {INSTALL} {packages}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
