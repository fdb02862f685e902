"""A command of the proofs, run by a test."""

import signal
import subprocess
from pathlib import Path
from subprocess import PIPE, CompletedProcess


def run_to_its_end(words: list[str], folder: Path, env: dict[str, str], within_s: float) -> "CompletedProcess[str]":
    """If it takes longer, it is asked to end, and stops its shop first. Killed, it would leave a shop behind that takes the cores from all later tests."""
    with subprocess.Popen(words, cwd=folder, env=env, stdout=PIPE, stderr=PIPE, text=True) as running:
        try:
            output, seen = running.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
            output, seen = running.communicate(timeout=60)
        return CompletedProcess(words, running.returncode, output, seen)
