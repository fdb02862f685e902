"""Promise: of every table somebody has decided whether its rows go some day, and why. Nobody but those who are meant lifts the guard of an append-only table."""

import ast
import re

from django.apps import apps
from django.conf import settings
from django.db.models import Model

from config.management.commands.prune import KINDS
from fulfillment import pruning as of_fulfillment
from orders import pruning as of_orders
from sideeffects import pruning as of_side_effects
from sideeffects.discovery import SUBSCRIBERS
from tests.architecture.test_layout import code
from tests.architecture.test_named_in_docs import CODE
from tests.engines import ROOT

PAGE = ROOT / "docs" / "retention.md"
KEPT = [model for package in (of_orders, of_fulfillment, of_side_effects) for model in package.KEPT]
PRUNED = [table for kind in KINDS.values() for table in kind.tables]
OURS = ("config", "orders", "fulfillment", "sideeffects")
MAY_LIFT_A_GUARD = {
    "fulfillment/pruning.py": ["GUARD"],
    "orders/migrations/0003_order_indexes.py": ["'orders.Order:touched'"],  # no guard: a column that is filled is no change of the order
    "orders/pruning.py": ["*self.guards"],
    "orders/pseudonyms.py": ["*guards"],
    "sideeffects/subscribers/loyalty/subscriber.py": ["'sideeffects_loyalty.PointsEntry:append_only'"],
}
PRUNING_LIFTS = {
    "orders.HistoryRow:append_only",
    "orders.RefusedAttempt:refused_append_only",
    "fulfillment.CircuitEntry:circuit_append_only",
}


def tables() -> set[type[Model]]:
    """Every table of the shop, but for those of subscribers, about which one rule decides."""
    ours = {model for model in apps.get_models() if model._meta.managed and model.__module__.split(".")[0] in OURS}
    return {model for model in ours if not model.__module__.startswith(SUBSCRIBERS)}


def test_each_table_is_named_once_as_pruned_or_as_kept_for_ever() -> None:
    """Whoever adds a table decides how long its rows live."""
    named = KEPT + PRUNED

    assert {model.__name__ for model in tables()} == {model.__name__ for model in named}
    assert len(named) == len(set(named)) == len(tables())


def rows_of(page: str) -> list[tuple[list[str], str]]:
    return [(CODE.findall(line.split("|")[1]), line) for line in page.splitlines() if line.startswith("| `")]


def test_the_page_says_of_each_table_how_long_its_rows_are_kept() -> None:
    """I look up what the shop still knows after two years."""
    before, _, for_ever = PAGE.read_text().partition("## What is kept for ever")
    pruned = {table: line for named, line in rows_of(before) for table in named if "`KEEP_" in line}
    kept = [table for named, _ in rows_of(for_ever) for table in named]

    assert set(pruned) == {table._meta.db_table for table in PRUNED}
    assert sorted(kept) == sorted(model._meta.db_table for model in KEPT)
    for kind in KINDS.values():
        for table in kind.tables:
            assert re.search(rf"`{kind.setting}`.*\b{getattr(settings, kind.setting)}\b", pruned[table._meta.db_table])
            assert f"`{kind.name}`" in pruned[table._meta.db_table]


def test_only_those_who_are_meant_lift_the_guard_of_an_append_only_table() -> None:
    """Nobody else can remove a line of my order's history, by mistake or otherwise."""
    lifting: dict[str, list[str]] = {}
    for name, text in code():
        if not name.startswith("tests/") and "pgtrigger.ignore" in text:
            calls = [
                node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "pgtrigger.ignore"
            ]
            lifting[name] = [ast.unparse(argument) for call in calls for argument in call.args]
    guards = {guard for kind in KINDS.values() for guard in getattr(kind, "guards", ())} | {of_fulfillment.GUARD}

    assert lifting == MAY_LIFT_A_GUARD
    assert guards == PRUNING_LIFTS


def test_nobody_turns_triggers_off() -> None:
    off = re.compile(r"session_replication_role|DISABLE TRIGGER", re.IGNORECASE)

    assert [name for name, text in code() if not name.startswith("tests/") and off.search(text)] == []
