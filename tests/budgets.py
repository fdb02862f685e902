"""Pytest plugin: what a run has cost, by folder, beside what the folder may cost; and ``--quick``, for every save. No test fails because it is slow.

``python -m tests.budgets``, after a run of everything: keep what each slow file took (``tests/seconds.json``), and write the slowest into docs/development.md.
"""

import json
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / ".run" / "test" / "seconds.json"  # of each file, after a run of everything
KEPT = ROOT / "tests" / "seconds.json"  # of the slow ones, in some run
SLOW_S = 4.0
SLOWEST = 20
PAGE = ROOT / "docs" / "development.md"
BEGIN, END = "<!-- slowest -->\n", "<!-- end of slowest -->"

# Seconds, added up over a folder's tests. Three processes share two cores, so a run takes about a third of their sum.
LIMITS_S = {
    "architecture": 60,
    "bench": 180,
    "browser": 80,
    "config": 260,
    "edge": 150,
    "fulfillment": 320,
    "orders": 100,
    "planted": 20,
    "promises": 600,
    "proof_tests": 1600,
    "reconciliation": 150,
    "scale": 20,
    "sideeffects": 80,
    "stack": 280,
}
STACKS = (
    "bench",
    "browser",
    "edge",
    "planted",
    "promises",
    "proof_tests",
    "scale",
    "stack",
)  # folders whose tests start processes of their own, or a shop


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="without what starts a shop or a broker, and without slow files: for every save")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "processes: starts processes of its own, or takes long: not with --quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is left out is not imported either: that takes as long as many a test, in each process."""
    if config.getoption("quick") and not _is_quick(str(collection_path.relative_to(ROOT))):
        return True
    return None


def _is_quick(path: str) -> bool:
    return folder_of(f"{path}/") not in STACKS and path not in kept()


@cache
def kept() -> dict[str, int]:
    """File → seconds, the slowest first."""
    return dict(json.loads(KEPT.read_text()))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def folder_of(nodeid: str) -> str:
    return nodeid.split("/")[1] if nodeid.count("/") > 1 else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    folders: dict[str, float] = defaultdict(float)
    files: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folders[folder_of(report.nodeid)] += report.duration
                files[file_of(report.nodeid)] += report.duration
    if not folders:
        return
    terminalreporter.section("seconds by folder")
    for folder, seconds in sorted(folders.items(), key=lambda one: -one[1]):
        limit = LIMITS_S.get(folder, 0)
        terminalreporter.line(f"{seconds:7.0f} of {limit:4} s  tests/{folder}" + ("  above its limit" if seconds > limit else ""))
    MEASURED.write_text(json.dumps(dict(sorted(files.items(), key=lambda one: -one[1])), indent=1))


def table() -> str:
    """The slowest files, for docs/development.md."""
    rows = [f"| `{file}` | {seconds} |" for file, seconds in list(kept().items())[:SLOWEST]]
    return "\n".join(("| file | seconds |", "|---|---|", *rows, ""))


def page_with(slowest: str) -> str:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + slowest + END + rest.partition(END)[2]


if __name__ == "__main__":
    measured = json.loads(MEASURED.read_text())
    KEPT.write_text(json.dumps({file: round(seconds) for file, seconds in measured.items() if seconds >= SLOW_S}, indent=1) + "\n")
    PAGE.write_text(page_with(table()))
