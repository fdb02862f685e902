"""Promise: a command writes a new subscriber that is right as it stands, and whose test says what is still to be written."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orders.events import EVENTS, Event, Subscription
from tests.engines import ROOT


@pytest.fixture
def folder(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where subscribers are written to, instead of the shop's own folder."""
    settings.SUBSCRIBERS_DIR = tmp_path
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("sideeffects.subscribers."):
            del sys.modules[name]


def loaded(file: Path) -> ModuleType:
    """As if it stood in the shop."""
    name = f"sideeffects.subscribers.{file.parent.name}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_what_it_writes_declares_a_subscriber_and_its_test_says_what_is_missing(event: type[Event], folder: Path) -> None:
    call_command("startsubscriber", "survey", event=event.type)

    declared = loaded(folder / "survey" / "subscriber.py").survey.subscription
    test = loaded(folder / "survey" / "test_survey.py")
    assert isinstance(declared, Subscription)
    assert (declared.name, set(declared.types)) == ("survey", {event.type})
    assert type(test.EVENT) is event
    with pytest.raises(NotImplementedError, match="Write what survey does for an event here"):
        test.test_an_event_has_its_effect()
    vars(test)["survey"] = lambda event, delivery: None
    with pytest.raises(pytest.fail.Exception, match="Say here what is there now"):
        test.test_an_event_has_its_effect()


def test_it_is_written_as_this_code_is(folder: Path) -> None:
    call_command("startsubscriber", "customer_survey")

    # I001: whose module an import is, ruff finds on the disk, and this one is not there.
    for file in (folder / "customer_survey").iterdir():
        in_its_place = ["--stdin-filename", str(ROOT / "sideeffects" / "subscribers" / "customer_survey" / file.name), "-"]
        for words in (["check", "--ignore", "I001"], ["format", "--check"]):
            run = subprocess.run(
                [sys.executable, "-m", "ruff", *words, *in_its_place], input=file.read_text(), capture_output=True, text=True
            )
            assert run.returncode == 0, run.stdout
    assert "class CustomerSurveyConfig(AppConfig):" in (folder / "customer_survey" / "apps.py").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["Survey"], "no name of a subscriber"),
        (["2nd"], "no name of a subscriber"),
        (["class"], "no name of a subscriber"),
        (["a" * 41], "no name of a subscriber"),
        (["../survey"], "no name of a subscriber"),
        (["email"], "There is a subscriber email already"),
        (["survey", "--event", "order.eaten"], "There is no event order.eaten. There are: order.created, "),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(words: list[str], why: str, folder: Path) -> None:
    with pytest.raises(CommandError, match=f"{why}.*Nothing was done"):
        call_command("startsubscriber", *words)

    assert list(folder.iterdir()) == []
