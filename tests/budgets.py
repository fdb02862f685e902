"""Pytest plugin: what a run has cost, by folder, beside what the folder may cost; and ``--quick``, for every save. No test fails because it is slow."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOWEST = ROOT / ".run" / "test" / "seconds.json"  # of each file, after a run of everything

# Seconds of one core, added up over a folder's tests. They are for whoever adds a test: what is above them must give time back elsewhere.
BUDGETS_S = {
    "architecture": 60,
    "browser": 60,
    "config": 240,
    "fulfillment": 360,
    "orders": 120,
    "planted": 60,
    "promises": 480,
    "proof_tests": 660,
    "reconciliation": 60,
    "scale": 30,
    "sideeffects": 120,
    "stack": 120,
}
STACKS = ("browser", "planted", "promises", "proof_tests", "scale", "stack")  # folders whose tests start processes of their own, or a shop


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="without what starts a shop, a broker or another process: for every save")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "processes: starts processes of its own, or takes long: not with --quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        slow = [item for item in items if not _is_quick(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if _is_quick(item)]


def _is_quick(item: pytest.Item) -> bool:
    return folder_of(item.nodeid) not in STACKS and not item.get_closest_marker("processes")


def folder_of(nodeid: str) -> str:
    return nodeid.split("/")[1] if nodeid.count("/") > 1 else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    folders: dict[str, float] = defaultdict(float)
    files: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folders[folder_of(report.nodeid)] += report.duration
                files[report.nodeid.partition("::")[0]] += report.duration
    if not folders:
        return
    terminalreporter.section("seconds by folder")
    for folder, seconds in sorted(folders.items(), key=lambda one: -one[1]):
        budget = BUDGETS_S.get(folder, 0)
        terminalreporter.line(f"{seconds:7.0f} of {budget:4} s  tests/{folder}" + ("  above its budget" if seconds > budget else ""))
    SLOWEST.write_text(json.dumps(dict(sorted(files.items(), key=lambda one: -one[1])), indent=1))
