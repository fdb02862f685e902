"""Promise: what the README and the docs show can be copied: every snippet runs, in a copy of this house with nothing else in it."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from orders.api.fields import RequestedOrder
from tests.architecture.test_docs import PAGES
from tests.engines import ROOT
from tests.proofs.checkout import copy_code

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:    |\$ )(?:python )?manage\.py (.*?)(?: {3,}.*| +# .*)?$", re.MULTILINE)
SETTING = re.compile(r"`((\w+): str = env\.str[^`]*)`")
STANDS_FOR = {"VERB": "retry", "N": "1", "NAME": "amara", "…": "it"}
TOLD = """
import json
import django
django.setup()
from config.celery import app
app.loader.import_default_modules()
print(json.dumps(sorted(app.tasks)))
"""


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == kind]


def snippets(page: Path) -> list[tuple[str, str]]:
    """(file, code): the first line of each says where it belongs."""
    found = []
    for text in blocks(page, "python"):
        first, _, code = text.partition("\n")
        assert re.fullmatch(r"# [\w/]+\.py", first), f"{page.name}: a snippet does not say where it belongs: {first}"
        found.append((first.removeprefix("# "), code))
    return found


WITH_SNIPPETS = [page for page in PAGES if blocks(page, "python")]


def house_with(page: Path, folder: Path) -> Path:
    """A copy of the house, in which somebody has done what ``page`` says."""
    copy_code(folder)
    steps = folder / "fulfillment" / "steps" / "__init__.py"
    for name, code in snippets(page):
        (folder / name).parent.mkdir(exist_ok=True)
        ((folder / name).parent / "__init__.py").touch()
        (folder / name).write_text(code)
        if name.startswith("fulfillment/steps/"):
            module = name.removesuffix(".py").replace("/", ".")
            written = [node.name for node in ast.parse(code).body if isinstance(node, ast.ClassDef)]
            steps.write_text(steps.read_text().replace("\nSTEPS:", f"\nfrom {module} import {', '.join(written)}\nSTEPS:", 1))
    if place := re.search(r"`(STEPS: tuple[^`]*)`", page.read_text()):
        steps.write_text(re.sub(r"^STEPS: tuple.*$", place.group(1), steps.read_text(), flags=re.MULTILINE))
    if setting := SETTING.search(page.read_text()):
        settings = folder / "config" / "settings.py"
        settings.write_text(settings.read_text().replace("\ntry:\n    env.seal()", f"\n{setting.group(1)}\ntry:\n    env.seal()", 1))
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("shown", WITH_SNIPPETS, ids=lambda shown: str(shown.relative_to(ROOT)))
def test_what_a_page_shows_passes_every_check_and_gets_its_tasks(shown: Path, tmp_path: Path) -> None:
    """I copy it as it stands, and nothing refuses it."""
    house = house_with(shown, tmp_path)

    checked, told = run(house, "manage.py", "check"), run(house, "-c", TOLD)

    assert checked.returncode == 0, checked.stderr
    assert told.returncode == 0, told.stderr
    tasks = json.loads(told.stdout.splitlines()[-1])
    files = [name for name, _ in snippets(shown)]
    for step in (Path(name).stem for name in files if name.startswith("fulfillment/steps/")):
        assert {f"fulfillment.{step}", f"fulfillment.undo_{step}"} <= set(tasks)
    for subscriber in (Path(name).parent.name for name in files if name.endswith("/subscriber.py")):
        assert f"sideeffects.{subscriber}" in tasks


def test_the_readme_shows_a_step_and_a_subscriber() -> None:
    files = [name for name, _ in snippets(ROOT / "README.md")]

    assert any(name.startswith("fulfillment/steps/") for name in files)
    assert any(name.endswith("/subscriber.py") for name in files)


def test_the_order_that_the_readme_places_is_one() -> None:
    """Its shell lines are read by a shell, and its body by the shop."""
    (shell,) = blocks(ROOT / "README.md", "sh")
    body = re.search(r"-d '(.*)'", shell, re.DOTALL)

    assert subprocess.run(["bash", "-n"], input=shell, capture_output=True, text=True).stderr == ""
    assert body
    RequestedOrder(data=json.loads(body.group(1))).is_valid(raise_exception=True)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in COMMAND.findall(page.read_text()):
            yield str(page.relative_to(ROOT)), line


@pytest.mark.parametrize(("where", "line"), list(commands()))
def test_every_command_that_is_shown_takes_its_words(where: str, line: str, settings: Any) -> None:
    """An option that was renamed is renamed where it is shown. A setting that the page adds is there."""
    if setting := SETTING.search((ROOT / where).read_text()):
        setattr(settings, setting.group(2), "")
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line.replace("[", "").replace("]", ""))]
    name, given = words[0], words[1:]
    command = load_command_class(get_commands()[name], name)

    try:
        command.create_parser("manage.py", name).parse_args(given)
    except CommandError as wrong:
        pytest.fail(f"{where}: manage.py {line}: {wrong}")
