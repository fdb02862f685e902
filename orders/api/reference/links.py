"""Links of OpenAPI: an answer that names an order or a product leads to what can be done with it, and a page to the next one.

They follow from names. A parameter of a path is found in an answer under its own name, in the answer itself or in its ``data``.
"""

import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
IN_PATH = re.compile(r"{(\w+)}")


def connect(result: Document, **_: Any) -> Document:
    """Hook of drf-spectacular."""
    operations = list(_operations(result))
    for path, operation in operations:
        for status, response in operation["responses"].items():
            if status.startswith("2") and (links := dict(_links(result, path, operation, response, operations))):
                response["links"] = links
    return result


def _operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _links(
    document: Document, of: str, operation: Document, response: Document, others: list[tuple[str, Document]]
) -> Iterator[tuple[str, Document]]:
    places = _places(document, response)
    for path, other in others:
        names = IN_PATH.findall(path)
        if names and all(name in places for name in names) and other is not operation:
            yield other["operationId"], _link(other, {name: _in_body(places[name]) for name in names})
    if "next_cursor" in places:
        same = {name: f"$request.path.{name}" for name in IN_PATH.findall(of)}
        yield "next_page", _link(operation, same | {"cursor": _in_body(places["next_cursor"])})


def _link(to: Document, parameters: dict[str, str]) -> Document:
    """``parameters``: runtime expressions of OpenAPI, by name."""
    return {"operationId": to["operationId"], "parameters": parameters}


def _in_body(place: str) -> str:
    return f"$response.body#{place}"


def _places(document: Document, response: Document) -> dict[str, str]:
    """Where each field stands in an answer, as a JSON pointer: its own fields, and those of the first of its ``data``."""
    schema = _resolved(document, next(iter(response["content"].values()))["schema"])
    own = {name: f"/{name}" for name in schema["properties"]}
    if "data" not in own:
        return own
    listed = _resolved(document, _resolved(document, schema["properties"]["data"])["items"])
    return {name: f"/data/0/{name}" for name in listed["properties"]} | own


def _resolved(document: Document, schema: Document) -> Document:
    reference: str = schema.get("$ref", "")
    return document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema
