"""The tables of docs/errors.md that list the problems of the API and the refusals of a field, between their marks."""

import re
from collections.abc import Iterator

from orders.api.reference.problem_pages import FIELD_REFUSALS, PAGES

MARKED = re.compile(r"(<!-- (problems|refusals) -->\n)(.*?)(<!-- end of \2 -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """The page, with its tables as the code has them."""
    tables = {"problems": "\n".join(_problems()), "refusals": "\n".join(_refusals())}
    return MARKED.sub(lambda mark: f"{mark[1]}\n{tables[mark[2]]}\n\n{mark[4]}", page)


def _problems() -> Iterator[str]:
    yield "| status, `code` | what it means | was an order placed? | what the client does |"
    yield "|---|---|---|---|"
    for page in PAGES:
        yield f"| {page.problem.status} `{page.code}` | {page.means} | {page.placed} | {page.remedy} |"


def _refusals() -> Iterator[str]:
    yield "| code | what is refused |"
    yield "|---|---|"
    for codes, refused in FIELD_REFUSALS:
        yield f"| {', '.join(f'`{code}`' for code in codes)} | {refused} |"
