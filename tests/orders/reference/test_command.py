"""Promise: ``manage.py api_reference --against COMMIT`` fails where a client would break, and says with what it has compared."""

import copy
import io
import subprocess
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.management.commands.api_reference import Command
from tests.engines import ROOT
from tests.orders.reference.operations import reference


def against(commit: str) -> str:
    told = io.StringIO()
    call_command("api_reference", "--against", commit, stdout=told, stderr=told)
    return told.getvalue()


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The reference as it was at the commit that is named."""
    document = copy.deepcopy(reference())
    monkeypatch.setattr(Command, "_reference_at", lambda *_: document)
    return document


def test_what_only_adds_is_let_pass(earlier: dict[str, Any]) -> None:
    assert against("v1") == f"{sum(map(len, earlier['paths'].values()))} operations compared with v1: nothing was taken away\n"


def test_what_takes_something_away_is_refused(earlier: dict[str, Any]) -> None:
    earlier["paths"]["/api/v1/stock"] = earlier["paths"]["/api/v1/products"]

    with pytest.raises(CommandError, match="1 of the changes since v1 would break a client"):
        against("v1")


def test_a_commit_without_a_reference_has_nothing_to_compare_with() -> None:
    """The commit before the first one of it passes."""
    first = subprocess.run(
        ["git", "rev-list", "--max-parents=0", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()[0]

    assert against(first) == f"{first} has no docs/openapi.json: nothing to compare with\n"


def test_a_commit_that_is_not_here_is_no_success() -> None:
    """A shallow clone does not pass for having nothing to compare with."""
    with pytest.raises(CommandError, match="not here"):
        against("0" * 40)
