"""Which problems an operation answers. Its own ones stand beside its view; what any operation may answer is added here, by how the operation is built."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from drf_canon.errors import INTERNAL_ERROR, NOT_FOUND, THROTTLED, UNAUTHENTICATED, VALIDATION_ERROR, Problem
from drf_spectacular.utils import OpenApiResponse

from orders.api import problems
from orders.api.answers import ProblemDocument
from orders.api.edge_refusals import OF_THE_EDGE, UNKNOWN_ENCODING
from orders.api.unavailable import UNAVAILABLE


class Refused(OpenApiResponse):
    """An answer that is one of these problems."""

    def __init__(self, known: list[Problem]) -> None:
        super().__init__(ProblemDocument())
        self.problems = known


NOT_CHANGED = OpenApiResponse(description="It is as you have it: its `ETag` stands in your `If-None-Match`. There is no body.")


def refusals(*known: Problem) -> dict[int, Refused]:
    """For ``responses=`` of ``extend_schema``: ``{201: Order} | refusals(TOTAL_DIFFERS, KEY_REUSED)``."""
    return {status: Refused(some) for status, some in by_status(known).items()}


def by_status(known: Iterable[Problem]) -> dict[int, list[Problem]]:
    found: dict[int, list[Problem]] = defaultdict(list)
    for problem in known:
        found[problem.status].append(problem)
    return found


def anywhere(operation: dict[str, Any], view: Any) -> Iterator[Problem]:
    """What follows from how an operation is built. Whoever adds a middleware that refuses something adds its problem here."""
    yield from (VALIDATION_ERROR, problems.BAD_REQUEST, problems.NOT_ACCEPTABLE, problems.HTTPS_REQUIRED, INTERNAL_ERROR, UNAVAILABLE)
    of_the_view = {"401": UNAUTHENTICATED, "403": problems.INSUFFICIENT_SCOPE, "404": NOT_FOUND}  # where drf_canon has seen that they occur
    yield from (problem for status, problem in of_the_view.items() if status in operation["responses"])
    if "requestBody" in operation:
        yield from (problems.TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE)
    yield from (problem for problem in OF_THE_EDGE if problem is not UNKNOWN_ENCODING or "requestBody" in operation)
    if view.get_throttles():
        yield THROTTLED
