"""What the files of this checkout were at an earlier commit, for commands that compare."""

import subprocess

from django.conf import settings


def is_here(commit: str) -> bool:
    """A shallow clone has no earlier commits."""
    return not _git("cat-file", "-e", f"{commit}^{{commit}}").returncode


def text_at(commit: str, path: str) -> str | None:
    """None: there was no such file."""
    shown = _git("show", f"{commit}:{path}")
    return None if shown.returncode else shown.stdout


def names_at(commit: str, folder: str) -> list[str]:
    """Of the files in the folder; empty: there was none."""
    return _git("ls-tree", "--name-only", f"{commit}:{folder}").stdout.split()


def _git(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *words], cwd=settings.BASE_DIR, capture_output=True, text=True)  # noqa: S607
