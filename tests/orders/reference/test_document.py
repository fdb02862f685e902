"""Promise: the reference that is committed and served is the one that the code makes, and its page needs nobody else."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client as Browser
from django.urls import URLResolver
from jsonschema_rs import Draft202012Validator

from config.urls import urlpatterns
from orders.api.reference.document import made_from_the_code
from tests.orders.reference.operations import Operation, operations, reference

RENEW = "python manage.py api_reference"
NOT_IN_IT = {"/api/v1/openapi.json"}  # it does not describe itself


def paths(patterns: Iterable[Any], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, here)
        else:
            yield here


def test_the_file_is_as_the_code_has_it() -> None:
    """What is reviewed is what is served."""
    assert settings.REFERENCE_FILE.read_text() == made_from_the_code(), f"docs/openapi.json is stale. Renew it: {RENEW}"


def test_it_is_openapi_3_1() -> None:
    assert reference()["openapi"].startswith("3.1")


def test_every_path_of_the_api_is_in_it() -> None:
    """Nothing is served that is not described."""
    served = {re.sub(r"<\w+:(\w+)>", r"{\1}", path) for path in paths(urlpatterns) if path.startswith("/api/")}

    assert served - NOT_IN_IT == set(reference()["paths"])


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
def test_an_operation_has_a_name_of_its_own_and_a_summary(operation: Operation) -> None:
    """A generated client has a method for each, with a name that says what it does."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation.id)
    assert operation.document["summary"]
    assert [one.id for one in operations()].count(operation.id) == 1
    for parameter in operation.document.get("parameters", []):
        assert parameter["description"], parameter["name"]


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema of a part of the document."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for part in node if isinstance(node, list) else ():
        yield from schemas(part)


def test_no_answer_is_a_closed_enumeration() -> None:
    """A client that was generated today reads what is added tomorrow."""
    answers = [response["content"] for one in operations() for response in one.document["responses"].values() if "content" in response]
    components = reference()["components"]["schemas"]
    named = {name for name, schema in components.items() if name.endswith("Enum") or "enum" in schema}

    assert [schema for answer in answers for schema in schemas(answer) if "enum" in schema] == []
    assert [name for name, schema in components.items() for one in schemas(schema) if "enum" in one] == []
    assert named == set()
    assert components["Order"]["properties"]["status"]["x-extensible-enum"][0] == "placed"
    assert "validation_error" in components["ProblemDocument"]["properties"]["code"]["x-extensible-enum"]
    assert "cancel.too_late" in components["Event"]["properties"]["type"]["x-extensible-enum"]


def test_what_is_always_there_is_required() -> None:
    """``order.number`` needs no question mark in my code."""
    components = reference()["components"]["schemas"]

    assert components["Order"]["required"] == ["number"]
    assert set(components["OrderAddress"]["required"]) == {"name", "line1", "country"}


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
def test_an_example_of_a_parameter_is_of_its_type_and_names_say_how_they_are_written(operation: Operation) -> None:
    for parameter in operation.document.get("parameters", []):
        for example in parameter.get("examples", {}).values():
            Draft202012Validator(parameter["schema"], validate_formats=True).validate(example["value"])
        if parameter["schema"].get("type") == "array":
            assert (parameter["style"], parameter["explode"]) == ("form", False)


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)
def test_what_the_edge_answers_is_described(operation: Operation) -> None:
    assert set(operation.document["responses"]) >= {"408", "414", "417", "431", "501"}


def test_a_link_leads_to_an_operation_and_names_its_parameters() -> None:
    by_id = {operation.id: operation for operation in operations()}
    found = [
        (operation.id, link)
        for operation in operations()
        for response in operation.document["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert {one for one, _ in found} >= {"place_order", "list_orders", "list_products"}
    for _, link in found:
        known = {parameter["name"] for parameter in by_id[link["operationId"]].document["parameters"]}
        assert set(link["parameters"]) <= known


@pytest.mark.parametrize("path", ["/openapi.json", "/api/v1/openapi.json"])
def test_it_is_served_to_everybody_and_read_once(path: str) -> None:
    """My tool asks for it each time, and is told that nothing has changed."""
    answer = Browser().get(path)
    again = Browser().get(path, headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == reference()
    assert (again.status_code, again.content) == (304, b"")


def test_its_page_loads_nothing_from_elsewhere() -> None:
    """It works where the internet is not; and a strict Content-Security-Policy allows it, because no script stands inside the page."""
    answer = Browser().get("/docs")

    page = answer.content.decode()
    assert answer.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [address for address in loaded if not address.startswith("/")] == []
    assert [address for address in loaded if address.startswith("/static/") and not finders.find(address.removeprefix("/static/"))] == []
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page) == []


def test_its_guide_is_the_page_of_the_docs() -> None:
    """One page is enough to write a client."""
    shown = reference()["info"]["description"]

    assert "## Quickstart" in shown and "## Retries" in shown


def test_nothing_is_filled_in_for_whoever_tries_an_operation_out() -> None:
    """A key of the reference would be everybody's key, and a mix of filters finds nothing."""
    parameters = [one for operation in operations() for one in operation.document.get("parameters", [])]

    assert [one["name"] for one in parameters if {"example", "examples"} & one.keys()] == []
