"""Promise: docs/asyncapi.json describes what arrives on the bus, as the code has it, and any tool of AsyncAPI can read it."""

import json
import shutil
import subprocess
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from sideeffects.bus import reference
from sideeffects.bus.envelope import envelope
from tests.debian import needed
from tests.engines import ROOT
from tests.sideeffects.bus.conftest import NumberedFacts

SPECIFICATION = "@asyncapi/specs@6.11.1"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    return found


def test_the_description_is_as_the_code_has_it() -> None:
    """``manage.py event_schemas`` writes it anew."""
    assert (ROOT / "docs" / "asyncapi.json").read_text() == reference.document()


@pytest.mark.processes
def test_it_is_an_asyncapi_document(described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """By the schema of the specification itself."""
    folder = tmp_path_factory.mktemp("asyncapi")
    npm = needed(lambda: shutil.which("npm"), "nodejs npm", "Node.js with npm")
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", SPECIFICATION], cwd=folder, check=True, timeout=120)
    schema = json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text())

    assert [f"{error.json_path}: {error.message[:200]}" for error in Draft7Validator(schema).iter_errors(described)] == []
    broken = described | {"channels": {"a": {"address": 5}}}
    assert list(Draft7Validator(schema).iter_errors(broken))


def test_what_arrives_is_as_it_says(described: dict[str, Any], numbered: NumberedFacts) -> None:
    for fact in numbered(2):
        arrived = json.loads(json.dumps(envelope(fact)))
        message = described["components"]["messages"][fact.type]
        validator = Draft7Validator(message["payload"] | {"components": described["components"]}, format_checker=FormatChecker())

        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(arrived)] == []
        del arrived["data"]["currency"]
        assert list(validator.iter_errors(arrived))
