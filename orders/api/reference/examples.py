"""Requests with their answers, as the reference shows them. A test sends each to the real views and compares the answer.

They stand in the folder ``examples/`` beside the view: one file for each operation, by its id. ``every_operation.json`` beside this interface has what may happen to
any operation: its request is what differs from the operation's own first one.
"""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from orders.api import edge_refusals
from orders.api.problems import code_of

FOLDER = "examples"
SCOPE = "{scope}"  # in what may happen to every operation: the scope that the operation needs
REQUEST_ID = "req-4f2c91"
EVERY_OPERATION = Path(__file__).parents[1] / FOLDER / "every_operation.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    """``given``: what has happened before, by its name in the test. ``request``: ``path``, ``query``, ``headers`` and ``body``, as far as there are any.

    ``answer``: ``status``, ``headers`` and ``body``.
    """

    name: str
    summary: str
    given: str
    request: dict[str, Any]
    answer: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.answer["status"])

    @property
    def code(self) -> str | None:
        """Of its problem. An answer without a body has none."""
        code: str | None = (self.answer["body"] or {}).get("code")
        return code

    @property
    def is_of_a_success(self) -> bool:
        return self.status.startswith("2")

    @property
    def shown(self) -> dict[str, Any]:
        """As an answer's example of OpenAPI."""
        return {"summary": self.summary, "value": self.answer["body"]}

    def target(self, path: str, own: "list[Example]") -> str:
        """What its request asks for. ``own``: those of the operation; the first one has the names in the path that this one leaves out."""
        names = {**(own[0].request if own else {}).get("path", {}), **self.request.get("path", {})}
        query = urlencode(self.request.get("query", {}), safe=",:")
        return path.format(**names) + (f"?{query}" if query else "")


def file_of(view: type, operation_id: str) -> Path:
    return Path(inspect.getfile(view)).parent / FOLDER / f"{operation_id}.json"


def of_operation(view: type, operation_id: str) -> list[Example]:
    """Its own ones, the usual one first."""
    return _read(file_of(view, operation_id))


def of_every_operation(scope: str = SCOPE) -> list[Example]:
    """``scope``: of the operation that they are shown at."""
    return _read(EVERY_OPERATION, scope)


def of_the_edge() -> list[Example]:
    """What is refused before any view is asked: as ``edge_refusals`` has it."""
    return [
        Example(
            name=code_of(refusal.problem),
            summary=str(refusal.problem.title),
            given="",
            request={},
            answer={"status": refusal.problem.status, "headers": dict(refusal.headers), "body": refusal.document(REQUEST_ID)},
        )
        for refusal in edge_refusals.REFUSALS.values()
        if refusal.problem in edge_refusals.OF_THE_EDGE
    ]


def _read(file: Path, scope: str = SCOPE) -> list[Example]:
    return [Example(**example) for example in json.loads(file.read_text().replace(SCOPE, scope))] if file.exists() else []
