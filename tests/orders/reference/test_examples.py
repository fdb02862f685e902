"""Promise: the reference shows each operation with each of its answers, and the shop answers as it is shown."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from orders.api.reference import examples
from orders.api.reference.examples import EVERY_OPERATION, SCOPE, Example
from tests.orders.conftest import Client
from tests.orders.reference.exchange import comparable, completed, take_place
from tests.orders.reference.operations import Operation, operations, reference
from tests.orders.reference.situations import MEANWHILE

RENEW = "python -m pytest -n 0 tests/orders/reference --write-examples"
OWN = [pytest.param(one, example, id=f"{one.id}-{example.name}") for one in operations() for example in one.examples]
ANYWHERE = [
    pytest.param(one, example, id=f"{one.id}-{example.name}")
    for one in operations()
    for example in examples.of_every_operation(one.scope)
    if (example.status, example.code) in one.codes
]
each_operation = pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.id)


@pytest.mark.parametrize(("operation", "example"), OWN)
def test_the_shop_answers_as_the_reference_shows(client: Client, operation: Operation, example: Example, rewrites: bool) -> None:
    """I copy a request from the reference, and get the answer that stands beside it."""
    answer = take_place(client, operation.method, operation.path, example)

    if rewrites and comparable(answer) != comparable(example.answer):
        _rewrite(examples.file_of(operation.view, operation.id), example, answer)
        return
    assert comparable(answer) == comparable(example.answer), f"Is it meant? Then: {RENEW}"
    _hold_just_what_is_described(operation, answer)


@pytest.mark.parametrize(("operation", "example"), ANYWHERE)
def test_what_may_happen_to_every_operation_is_answered_as_shown(
    client: Client, operation: Operation, example: Example, rewrites: bool
) -> None:
    whole = completed(example, operation.usual)

    answer = take_place(client, operation.method, operation.path, whole, example.given)

    if rewrites and comparable(answer) != comparable(example.answer):
        _rewrite(EVERY_OPERATION, example, json.loads(json.dumps(answer).replace(operation.scope, SCOPE)))
        return
    assert comparable(answer) == comparable(example.answer), f"Is it meant? Then: {RENEW}"
    _hold_just_what_is_described(operation, answer)


def _rewrite(file: Path, example: Example, answer: dict[str, Any]) -> None:
    written = [Example(**one) for one in json.loads(file.read_text())]
    renewed = [asdict(one) | ({"answer": answer} if one.name == example.name else {}) for one in written]
    file.write_text(json.dumps(renewed, indent=2, ensure_ascii=False) + "\n")


def _hold_just_what_is_described(operation: Operation, answer: dict[str, Any]) -> None:
    """A client that is made from the reference knows every field; and finds each that it was promised."""
    response = operation.document["responses"][str(answer["status"])]
    assert (answer["body"] is not None) == ("content" in response)
    for media in response.get("content", {}).values():
        schema = media["schema"] | {"components": {"schemas": _closed(reference()["components"]["schemas"])}}
        Draft202012Validator(schema, validate_formats=True).validate(answer["body"])
    assert set(answer["headers"]) <= set(response["headers"])
    assert {name for name, header in response["headers"].items() if header.get("required")} <= set(answer["headers"])
    if codes := response.get("x-codes"):
        assert answer["body"]["code"] in codes


def _closed(schemas: dict[str, Any]) -> dict[str, Any]:
    return {name: schema | ({"additionalProperties": False} if "properties" in schema else {}) for name, schema in schemas.items()}


@each_operation
def test_each_answer_of_an_operation_has_an_example(operation: Operation) -> None:
    examples_of = {status: _examples(operation, status) for status in operation.document["responses"]}

    assert [status for status, shown in examples_of.items() if not shown] == []


def _examples(operation: Operation, status: str) -> list[Any]:
    """An answer without a body has none in the document; it takes place all the same."""
    content = operation.document["responses"][status].get("content")
    if content is None:
        return [example for example in operation.examples if example.status == status]
    return [example for media in content.values() for example in media.get("examples", {}).values()]


@each_operation
def test_each_problem_of_an_operation_has_an_example(operation: Operation) -> None:
    """One status may mean two things: I see both."""
    shown = [*operation.examples, *examples.of_every_operation(), *examples.of_the_edge()]

    assert operation.codes - {(example.status, example.code) for example in shown} == set()


@each_operation
def test_the_request_of_an_example_is_one(operation: Operation) -> None:
    content = operation.document.get("requestBody", {}).get("content", {})
    components = {"components": reference()["components"]}
    for media in content.values():
        assert media.get("examples") or not operation.document["requestBody"].get("required")
        for example in media.get("examples", {}).values():
            Draft202012Validator(media["schema"] | components, validate_formats=True).validate(example["value"])


def test_no_situation_is_left_over() -> None:
    told = {example.given for one in operations() for example in one.examples} | {one.given for one in examples.of_every_operation()}

    assert set(MEANWHILE) <= told
