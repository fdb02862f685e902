"""Promise: the tables of the guide name what the code has, neither more nor less, so that a client developer can handle all of it."""

import re
from collections.abc import Iterator

import pytest

from fulfillment.models import SagaState, StepState
from fulfillment.sandbox.magic import DECLINES
from orders.api.reference.guide import guide
from orders.client_tokens import Scope
from orders.models import Status
from tests.architecture.test_named_in_docs import headings
from tests.engines import ROOT

DOCS = ROOT / "docs"
NAMES = re.compile(r"`([^`]+)`")
WRITTEN = re.compile(r'append_entry\(\s*\w+, EntryKind\.(HELD|CANCEL),[^)]*?to_state="(\w+)"')
SUBJECTS = {"HELD": "step", "CANCEL": "cancel"}
OF_COMPENSATIONS = {"handed_over", "refund_declined"}  # refusals that no order fails by
OF_OPERATORS = ("make up", "manage.py", "SHOP_CURRENCY", "DEMO_VALUES", "forgotten_orders", ".md")


def table(heading: str, text: str) -> list[list[str]]:
    """The rows of the first table below a heading, each with its cells."""
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    _, _, *rows = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def named(heading: str, text: str | None = None) -> list[str]:
    """What stands as code in the first cells of that table."""
    return [name for row in table(heading, text or guide()) for name in NAMES.findall(row[0])]


def refused_for_good() -> Iterator[str]:
    """The codes that docs/errors.md counts as rejections."""
    for code, meaning in table("Codes", (DOCS / "errors.md").read_text()):
        if meaning.startswith("rejected"):
            yield from NAMES.findall(code)


def types() -> Iterator[str]:
    """Of events, as ``orders.api.events`` makes them of the history."""
    yield from (f"order.{status}" for status in Status)
    yield f"order.{SagaState.NEEDS_ATTENTION}"
    yield from (f"step.{state}" for state in StepState)
    for file in (ROOT / "fulfillment").rglob("*.py"):
        yield from (f"{SUBJECTS[kind]}.{state}" for kind, state in WRITTEN.findall(file.read_text()))


def test_every_status_is_explained_and_whether_it_is_an_end() -> None:
    """I know when to stop asking."""
    assert {NAMES.findall(status)[0]: ended == "yes" for status, ended, *_ in table("Statuses", guide())} == {
        str(status): status.is_final for status in Status
    }


def test_every_type_of_event_is_explained() -> None:
    found = set(types())

    assert found >= {"step.held", "step.released", "cancel.requested", "cancel.too_late"}
    assert sorted(named("Following an order")) == sorted(found)


def test_every_refusal_that_ends_an_order_is_explained() -> None:
    """I know what to tell my customer; for what nobody has refused, there is one row."""
    codes, known = named("Failure codes"), named("Codes", (DOCS / "errors.md").read_text())

    assert [code for code in codes if code not in known] == []
    assert sorted({*refused_for_good(), *DECLINES} - OF_COMPENSATIONS - set(codes)) == []


def test_every_scope_is_explained() -> None:
    assert sorted(named("Tokens")) == sorted(Scope)


def test_every_link_leads_to_what_the_shop_serves() -> None:
    """No word was once a link."""
    links = re.findall(r"\]\(([^)]+)\)", guide())
    inside = [target.partition("#")[2] for target in links if target.startswith("/docs#")]

    assert len(inside) > 10
    assert [heading for heading in inside if heading not in headings(DOCS / "api.md")] == []
    assert {target for target in links if not target.startswith("/docs#")} == {"/problems/", "/openapi.json"}


@pytest.mark.parametrize("word", OF_OPERATORS)
def test_what_is_for_operators_is_not_in_it(word: str) -> None:
    assert word not in guide()
