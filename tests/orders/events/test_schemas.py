"""Promise: each event has a committed schema, which is as its class says, and within a version it only grows."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orders.api.reference.compatibility import breaks_of_event
from orders.events import EVENTS, Event, OrderFulfilled, event_class
from orders.events.schema import file_of, schema_of
from tests.engines import ROOT
from tests.event_schemas import SCHEMAS, validator


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_a_schema_is_as_its_class_says(event: type[Event]) -> None:
    """``manage.py event_schemas`` writes them anew."""
    assert json.loads((SCHEMAS / file_of(event)).read_text()) == schema_of(event)
    assert validator(event.type)


def test_every_schema_is_of_an_event_and_of_no_later_version() -> None:
    for path in SCHEMAS.iterdir():
        type_, _, version = path.stem.rpartition(".v")
        event = event_class(type_)
        assert event is not None
        assert int(version) <= event.version


def changed(change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    before, after = schema_of(OrderFulfilled), schema_of(OrderFulfilled)
    change(after)
    return before, after


def gone(schema: dict[str, Any]) -> None:
    del schema["properties"]["currency"]
    schema["required"].remove("currency")


BREAKS = {
    "a field is gone": (gone, "payload: field currency is gone"),
    "a field has another type": (lambda s: s["properties"]["total_minor"].update(type="string"), "payload.total_minor: may be string now"),
    "a field of a line is gone": (
        lambda s: s["properties"]["lines"]["items"]["properties"].pop("sku"),
        "payload.lines[]: field sku is gone",
    ),
    "a field may be missing now": (lambda s: s["required"].remove("lines"), "payload: field lines may be missing now"),
    "a new field is required": (
        lambda s: (s["properties"].update(vat={"type": "integer"}), s["required"].append("vat")),
        "payload: field vat is required now",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_would_break_a_reader_is_named(name: str) -> None:
    change, sentence = BREAKS[name]

    assert sentence in list(breaks_of_event(*changed(change)))


def test_a_field_with_a_default_may_be_added() -> None:
    assert list(breaks_of_event(*changed(lambda s: s["properties"].update(gift={"type": "boolean", "default": False})))) == []


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """A repository with one commit, which has the schemas."""
    folder = tmp_path / "docs" / "events"
    folder.mkdir(parents=True)
    for event in EVENTS:
        (folder / file_of(event)).write_text(json.dumps(schema_of(event)))
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "schemas"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    settings.BASE_DIR = tmp_path
    return folder


def against(commit: str) -> str:
    told = io.StringIO()
    call_command("event_schemas", "--against", commit, stdout=told, stderr=told)
    return told.getvalue()


def test_a_change_that_needs_a_new_version_fails_with_the_schema_of_the_commit(clone: Path) -> None:
    assert against("HEAD") == f"{len(EVENTS)} schemas compared with HEAD: nothing but additions\n"
    path = clone / "payment.completed.v1.json"
    path.write_text(path.read_text().replace('"amount_minor"', '"amount"'))

    with pytest.raises(CommandError, match="need a new version"):
        against("HEAD")


def test_a_clone_without_its_history_compares_nothing_and_says_so(clone: Path) -> None:
    assert "Nothing was compared" in against("0" * 40)


def test_the_schemas_only_add_to_those_of_the_commit_before() -> None:
    told = against("HEAD^")

    assert "nothing but additions" in told or "Nothing was compared" in told
    assert ROOT.joinpath("docs", "events").is_dir()
