"""Promise: whatever the README and the docs name is there: files, folders, tests, modules that are run, commands with their options, make targets, headings."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePath

import pytest
from django.core.management import get_commands, load_command_class

from tests.architecture.test_docs import DOCS, PAGES
from tests.architecture.test_layout import code, tracked
from tests.engines import ROOT

CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:[\w*-]+/)*[\w*-]+(?:/|\.(?:py|md|html|toml|txt))")
PLACEHOLDER = re.compile(r"[A-Z]{4,}(?=\.|$)(?<!README)(?<!CHANGELOG)")
COMMAND = re.compile(r"manage\.py (\w+)((?: [^`·]*)?)")
OPTION = re.compile(r"(?<= )--[\w-]+")
CODES = {"test_value", "test_value_refused"}  # of the sandbox's answers and of the API: no tests

each_page = pytest.mark.parametrize("shown", PAGES, ids=lambda shown: str(shown.relative_to(ROOT)))


@cache
def places() -> frozenset[str]:
    """Every file, and with a slash every folder."""
    folders = {f"{folder}/" for name in tracked() for folder in PurePath(name).parents}
    return frozenset({*tracked(), *folders})


@cache
def known_tests() -> frozenset[str]:
    """Names of test files and of test functions; of these also with their file, as pytest writes them."""
    files = [(name, text) for name, text in code() if name.startswith("tests/")]
    functions = [(name, function) for name, text in files for function in re.findall(r"def (test_\w+)", text)]
    alone = [function for _, function in functions]
    return frozenset([*(Path(name).stem for name, _ in files), *alone, *(f"{name}::{function}" for name, function in functions)])


def named(shown: Path) -> Iterator[str]:
    """What stands as code in a sentence of a page."""
    yield from CODE.findall(shown.read_text())


def is_a_place(name: str, shown: Path) -> bool:
    """A page may leave out where it is, if that is told by the sentence around it."""
    return (shown.parent / name).exists() or any(place == name or fnmatch(f"/{place}", f"*/{name}") for place in places())


@each_page
def test_every_file_and_folder_exists(shown: Path) -> None:
    files = [word.partition("::")[0] for word in named(shown)]
    meant = [file for file in files if FILE.fullmatch(file) and not PLACEHOLDER.search(file)]

    assert [file for file in meant if not is_a_place(file, shown)] == []


@each_page
def test_every_test_exists(shown: Path) -> None:
    meant = [word for word in named(shown) if re.fullmatch(r"(?:[\w/]+\.py::)?test_[\w*]+", word) and word not in CODES]

    assert [word for word in meant if not any(fnmatch(name, word) for name in known_tests())] == []


def test_every_habit_of_the_api_has_a_test_and_what_is_said_of_others_has_a_source() -> None:
    """I compare it with an API that I know, and need not believe a word."""
    tables = [line for line in (DOCS / "api-habits.md").read_text().splitlines() if line.startswith("|") and not line.startswith("|---")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables if not line.startswith("| habit |")]

    assert len(rows) > 40
    assert [row[0] for row in rows if len(row) != 6 or not re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", row[5])] == []
    assert [row[0] for row in rows if not row[4] or "https://" in row[4]] == []
    assert [row[0] for row in rows if "".join(row[1:4]) != "–––" and not any("](https://" in cell for cell in row[1:4])] == []


@each_page
def test_every_module_that_is_run_exists(shown: Path) -> None:
    modules = [
        module.replace(".", "/") for module in re.findall(r"-m ((?:config|orders|fulfillment|sideeffects|tests)[\w.]*)", shown.read_text())
    ]

    assert [module for module in modules if not {f"{module}.py", f"{module}/__main__.py"} & places()] == []


@each_page
def test_every_command_has_the_options_that_are_named(shown: Path) -> None:
    """Also where a sentence shows only a part of what is to be typed."""
    for words in named(shown):
        for name, rest in COMMAND.findall(words):
            assert name in get_commands(), words
            known = load_command_class(get_commands()[name], name).create_parser("manage.py", name)._option_string_actions
            assert [option for option in OPTION.findall(rest) if option not in known] == [], words


@each_page
def test_every_make_target_exists(shown: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    meant = re.findall(r"(?:`|^    )make ([\w-]+)", shown.read_text(), re.MULTILINE)

    assert [target for target in meant if target not in targets] == []


@each_page
def test_every_heading_that_is_linked_to_exists(shown: Path) -> None:
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", shown.read_text())

    assert [(target, heading) for target, heading in links if heading not in headings(shown.parent / target if target else shown)] == []


@each_page
def test_a_link_whose_words_name_a_heading_leads_to_it(shown: Path) -> None:
    """I am told that it stands under "who you are", and need not look for it."""
    named = re.findall(r"\]\(([\w/.-]+\.md)\)[,:] \*?([\w ]+?)\*?[).;]", shown.read_text())

    assert [(page, words) for page, words in named if _as_linked(words) in headings(shown.parent / page)] == []


def headings(shown: Path) -> list[str]:
    """As they are written behind ``#`` in a link."""
    titles = re.findall(r"^#+ (.+)$", shown.read_text(), re.MULTILINE)
    return [_as_linked(title) for title in titles]


def _as_linked(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_what_you_may_touch_has_a_row_for_every_file() -> None:
    """My file's row is one hop from the README. No row is about what is gone."""
    table = (ROOT / "docs/design.md").read_text().partition("## What you may touch")[2].partition("\n## ")[0]
    rows = [CODE.findall(line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    patterns = [f"{place}*" if place.endswith("/") else place for row in rows for place in row]

    assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in tracked())] == []
    assert [name for name in tracked() if "/" in name and not any(fnmatch(name, one) for one in patterns if one != "*")] == []
