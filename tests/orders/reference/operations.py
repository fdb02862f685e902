"""The operations of the reference, each with the view that serves it."""

import json
import re
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import resolve

from orders.api.access import scope_of
from orders.api.reference import examples
from orders.api.reference.examples import Example
from orders.api.reference.schema import CODES


class Operation(NamedTuple):
    """``path``: with the names of its parameters in braces."""

    method: str
    path: str
    document: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["operationId"])

    @property
    def view(self) -> type:
        found = resolve(re.sub(r"{\w+}", "x", self.path)).func
        view: type = found.view_class  # type: ignore[attr-defined]
        return view

    @property
    def scope(self) -> str:
        return scope_of(self.view, self.method) or ""

    @property
    def examples(self) -> list[Example]:
        return examples.of_operation(self.view, self.id)

    @property
    def usual(self) -> Example:
        return self.examples[0]

    @property
    def codes(self) -> set[tuple[str, str]]:
        """Of its problems, each with its status."""
        return {(status, code) for status, response in self.document["responses"].items() for code in response.get(CODES, ())}


@cache
def reference() -> dict[str, Any]:
    """As it is committed: a test says that the code makes the same. To make and to validate it takes seconds, of each process that only collects tests."""
    document: dict[str, Any] = json.loads(settings.REFERENCE_FILE.read_text())
    return document


def operations() -> list[Operation]:
    return [Operation(method.upper(), path, one) for path, methods in reference()["paths"].items() for method, one in methods.items()]
