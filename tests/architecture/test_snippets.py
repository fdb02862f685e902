"""Promise: what the README and the docs show can be copied: every snippet runs, in a copy of this project with nothing else in it."""

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

from orders.api.serializers import RequestedOrder
from tests.architecture.test_docs import PAGES
from tests.engines import ROOT
from tests.proofs.checkout import copy_code

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:    |\$ )(?:python )?manage\.py (.*?)(?: {3,}.*| +# .*)?$", re.MULTILINE)
ROLE = re.compile(r'`(("\w+"): _Role\([^`]*)`')
SETTING = re.compile(r"`((\w+): str = env\.str[^`]*)`")
LISTED = re.compile(r"^\| `(\w+)` \| [^|]+ \| `manage\.py ([^`]+)` \|$", re.MULTILINE)
PACKAGES = {"config", "orders", "fulfillment", "sideeffects", "tests"}
STANDS_FOR = {"VERB": "retry", "N": "1", "NAME": "amara", "…": "it"}
LISTING = """
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


def project_with(page: Path, folder: Path) -> Path:
    """A copy of the project, in which somebody has done what ``page`` says."""
    copy_code(folder)
    text, shown = page.read_text(), snippets(page)
    for name, code in shown:
        (folder / name).parent.mkdir(exist_ok=True)
        ((folder / name).parent / "__init__.py").touch()
        (folder / name).write_text(code)
    _place_steps(folder / "fulfillment" / "steps" / "__init__.py", text, shown)
    _add_provider(folder / "fulfillment" / "gateways" / "__init__.py", text, shown)
    if setting := SETTING.search(text):
        settings = folder / "config" / "settings.py"
        settings.write_text(settings.read_text().replace("\ntry:\n    env.seal()", f"\n{setting.group(1)}\ntry:\n    env.seal()", 1))
    for name, _ in shown:
        if name.endswith("/models.py"):
            _make_migrations(folder, Path(name).parent)
    return folder


def _place_steps(table: Path, page: str, shown: list[tuple[str, str]]) -> None:
    code = table.read_text()
    for name, text in shown:
        if name.startswith("fulfillment/steps/"):
            code = code.replace("\nSTEPS:", f"\nfrom {_module(name)} import {', '.join(_classes(text))}\nSTEPS:", 1)
    if place := re.search(r"`(STEPS: tuple[^`]*)`", page):
        code = re.sub(r"^STEPS: tuple.*$", place.group(1), code, flags=re.MULTILINE)
    table.write_text(code)


def _add_provider(table: Path, page: str, shown: list[tuple[str, str]]) -> None:
    """The row of its role becomes the one that the page shows."""
    if not (row := ROLE.search(page)):
        return
    imports = "".join(f"from {_module(name)} import {', '.join(_classes(text))}\n" for name, text in shown)
    code = table.read_text().replace("from fulfillment.gateways.ports import", f"{imports}from fulfillment.gateways.ports import", 1)
    table.write_text(re.sub(rf"^    {row.group(2)}: .*$", lambda _: f"    {row.group(1)}", code, flags=re.MULTILINE))


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _classes(code: str) -> list[str]:
    return [node.name for node in ast.parse(code).body if isinstance(node, ast.ClassDef)]


def _make_migrations(folder: Path, app: Path) -> None:
    (folder / app / "migrations").mkdir()
    (folder / app / "migrations" / "__init__.py").touch()
    made = run(folder, "manage.py", "makemigrations", f"sideeffects_{app.name}")
    assert made.returncode == 0, made.stderr


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("shown", WITH_SNIPPETS, ids=lambda shown: str(shown.relative_to(ROOT)))
def test_what_a_page_shows_passes_every_check_and_gets_its_tasks(shown: Path, tmp_path: Path) -> None:
    """I copy it as it stands, and nothing refuses it."""
    project = project_with(shown, tmp_path)

    checked, listed = run(project, "manage.py", "check"), run(project, "-c", LISTING)

    assert checked.returncode == 0, checked.stderr
    assert listed.returncode == 0, listed.stderr
    tasks = json.loads(listed.stdout.splitlines()[-1])
    files = [name for name, _ in snippets(shown)]
    for step in (Path(name).stem for name in files if name.startswith("fulfillment/steps/")):
        assert {f"fulfillment.{step}", f"fulfillment.compensate_{step}"} <= set(tasks)
    for subscriber in (Path(name).parent.name for name in files if name.endswith("/subscriber.py")):
        assert f"sideeffects.{subscriber}" in tasks


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
    parse(line, where)


def parse(line: str, where: str) -> None:
    """The words after ``manage.py``."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line.replace("[", "").replace("]", ""))]
    name, given = words[0], words[1:]
    command = load_command_class(get_commands()[name], name)
    try:
        command.create_parser("manage.py", name).parse_args(given)
    except CommandError as wrong:
        pytest.fail(f"{where}: manage.py {line}: {wrong}")


def test_every_command_has_a_line_with_an_example() -> None:
    """A newcomer sees everything that there is to type."""
    shown = dict(LISTED.findall((ROOT / "docs/commands.md").read_text()))
    ours = {name for name, app in get_commands().items() if app.partition(".")[0] in PACKAGES}

    assert set(shown) == ours
    for name, line in shown.items():
        assert line.split()[0] == name
        parse(line, "docs/commands.md")
