"""Promise: what a person may meet stands in the docs: every state, verb, error, code, incident and boundary, and every link leads somewhere."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.stack.demo_stories import STORIES
from fulfillment import errors
from fulfillment.crashpoints import BOUNDARIES
from fulfillment.errors import StepError
from fulfillment.models import SagaState, StepState
from fulfillment.reconciliation.finding import Rule
from fulfillment.recovery import VERBS
from fulfillment.step import Step
from orders.api.serializers import RequestedOrder
from orders.events import EVENTS, Line
from orders.incidents import RUNBOOKS, IncidentKind
from tests.engines import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]
INDEXES = [DOCS / "README.md", DOCS / "runbooks" / "README.md", DOCS / "decisions" / "README.md"]
SEARCHED_FOR = (
    "saga", "pivot", "compensation", "fencing token", "lease", "leader election", "transactional outbox", "idempotency key", "circuit breaker",
    "dead letter", "poison message", "at-least-once delivery", "exactly-once effect", "watchdog", "reconciliation", "pseudonymisation",
    "deterministic simulation", "fault injection", "model checking", "crash matrix", "chaos scenario", "mutation",
)  # fmt: skip
EXPLAINED_AT_ONCE = (
    "fencing token", "transactional outbox", "idempotency", "deterministic simulation", "fault injection", "dead letter", "saga isolation",
    "lost update", "dirty read", "fuzzy read", "circuit breaker", "compensation",
)  # fmt: skip
HEADINGS = ["Symptom", "What it means", "What to check", "Choices", "Never", "Over when"]
WRITTEN_CODE = re.compile(r'(?:code=|because\()"(\w+)"')


def page(name: str) -> str:
    return (DOCS / name).read_text()


def missing(words: list[str], name: str) -> list[str]:
    """Words that ``docs/<name>`` does not name as code."""
    text = page(name)
    return [word for word in words if f"`{word}`" not in text]


def links(text: str) -> list[str]:
    """Where it leads to within the project."""
    return [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """Those of its headings, as GitHub makes them."""
    titles = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def kinds_of(error: type[StepError]) -> Iterator[type[StepError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_state_of_a_saga_and_of_a_step_is_explained() -> None:
    assert missing([*SagaState.values, *StepState.values], "semantics.md") == []


def test_every_verb_is_explained() -> None:
    """A person who decides knows first what it does."""
    assert [verb for verb in VERBS if f"\n| `{verb}` |" not in page("semantics.md")] == []


def test_every_error_is_in_the_catalogue() -> None:
    names = ["StepError", *(error.__name__ for error in kinds_of(StepError))]

    assert "Changed" in names
    assert missing(names, "errors.md") == []


def test_every_code_is_explained() -> None:
    """What an incident shows can be looked up."""
    sources = [file for file in (ROOT / "fulfillment").rglob("*.py") if "sandbox" not in file.parts]
    codes = {code for file in sources for code in WRITTEN_CODE.findall(file.read_text())} - set(VERBS)

    assert len(codes) > 10
    assert missing(sorted(codes | {errors.WATCHED_IN_VAIN}), "errors.md") == []


def test_every_field_of_an_order_is_explained() -> None:
    assert missing(sorted(fields_of(RequestedOrder())), "api.md") == []


def fields_of(serializer: Any) -> Iterator[str]:
    for name, field in serializer.fields.items():
        yield name
        within = getattr(field, "child", field)
        if hasattr(within, "fields"):
            yield from fields_of(within)


def test_every_boundary_of_a_crash_point_is_in_the_design() -> None:
    assert missing(list(BOUNDARIES), "design.md") == []


def test_every_attribute_of_a_step_is_in_the_design() -> None:
    """Whoever adds a step finds every word that it may set."""
    assert missing(sorted(Step.__annotations__), "design.md") == []


@pytest.mark.parametrize("kind", IncidentKind.values)
def test_every_kind_of_incident_has_its_row_and_its_runbook(kind: str) -> None:
    """Whoever is told also reads what to do, and what never to do."""
    assert f"\n| `{kind}` |" in page("errors.md")
    runbook = (ROOT / RUNBOOKS / f"{kind}.md").read_text()
    assert re.findall(r"^## (.+)$", runbook, re.MULTILINE) == HEADINGS
    assert f"]({kind}.md)" in page("runbooks/README.md")


@pytest.mark.parametrize("file", sorted((ROOT / RUNBOOKS).glob("*.md")), ids=lambda file: str(file.stem))
def test_a_runbook_decides_only_what_can_be_decided(file: Path) -> None:
    """A command copied from it at night works."""
    text = file.read_text()

    assert set(re.findall(r"decide ORD-… (\w+)", text)) <= set(VERBS)
    assert set(re.findall(r"retry_orders --kind (\w+)", text)) <= set(IncidentKind.values)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_and_every_file_that_is_named_exists(file: Path) -> None:
    text = file.read_text()
    named = re.findall(r"`((?:config|orders|fulfillment|sideeffects|tests)/[\w/]+\.py)", text)

    assert [target for target in links(text) if target and not (file.parent / target).exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_finding_of_reconcile_stands_in_the_runbook_of_its_kind() -> None:
    for rule in Rule:
        assert f"`{rule.value}`" in (ROOT / "docs" / "runbooks" / f"{rule.kind.value}.md").read_text(), rule


def test_the_readme_shows_every_story_of_the_demo() -> None:
    text = " ".join((ROOT / "README.md").read_text().replace("│", " ").split())
    for story in STORIES:
        assert all(word in text for word in story.title.split()), story.title
        assert story.title.split(":")[0] in text, story.title


def test_every_page_is_found_from_the_index() -> None:
    """I know that there is a page about it, and find it."""
    listed = {index.parent / target for index in INDEXES for target in links(index.read_text())}

    assert [str(file) for file in DOCS.rglob("*.md") if file not in {*listed, INDEXES[0]}] == []


def test_each_term_of_the_glossary_stands_once_and_leads_to_code() -> None:
    """I look a word up, and am one step from the code."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page("glossary.md").splitlines() if row.startswith("| ")]
    terms = [row for row in rows if row[0] != "term"]

    assert len(terms) >= 50
    assert len({row[0] for row in terms}) == len(terms)
    for term, _, meaning, where in terms:
        files = re.findall(r"`([\w/.]+)`", where)
        assert meaning and files, term
        assert [file for file in files if not (ROOT / file).exists()] == [], term


def test_the_glossary_has_what_somebody_would_search_for() -> None:
    text = page("glossary.md").lower()

    assert [term for term in SEARCHED_FOR if term not in text] == []


@pytest.mark.parametrize("term", EXPLAINED_AT_ONCE)
def test_a_standard_term_leads_at_once_to_its_explanation(term: str) -> None:
    """I search the index for the field's own word, and its first link is the heading that explains it."""
    listed = page("README.md").partition("## Find a standard term")[2].lower()
    row = next((line for line in listed.splitlines() if line.startswith("|") and term in line.split("|")[1]), "")

    found = re.search(r"\]\(([\w-]+\.md)#([\w-]+)\)", row)

    assert found, term
    assert found[2] in anchors(page(found[1])), found[0]


def test_every_field_of_an_event_is_explained() -> None:
    fields = {field.name for event in (*EVENTS, Line) for field in dataclasses.fields(event)}

    assert missing(sorted(fields), "events.md") == []


def test_every_event_is_listed_with_its_version_and_its_fields() -> None:
    listed = page("events.md").partition("<!-- events -->")[2].partition("<!-- end of events -->")[0]
    rows = []
    for event in EVENTS:
        named = ", ".join(f"`{field.name}`" for field in dataclasses.fields(event) if field.name != "number")
        rows.append(f"| `{event.type}` | {event.version} | `{event.__name__}` | {named} |".replace("|  |", "| |"))

    assert listed.strip().splitlines()[2:] == rows
    assert missing([event.type for event in EVENTS], "events.md") == []
