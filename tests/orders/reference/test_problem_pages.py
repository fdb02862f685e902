"""Promise: every code that the API can answer has a page, at the address that the answer names."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser
from drf_canon.errors import Problem
from rest_framework import exceptions, serializers
from rest_framework.test import APIRequestFactory

import orders.api
from orders.api import problems
from orders.api.edge_refusals import REFUSALS
from orders.api.events import EventQuery
from orders.api.reference.problem_pages import FIELD_REFUSALS, PAGES
from orders.api.reference.problem_table import with_tables
from orders.api.selection import OrderQuery
from orders.api.serializers import RequestedOrder
from orders.api.views import ReadOrder
from tests.engines import ROOT
from tests.orders.reference.operations import operations

RENEW = "python manage.py api_reference"
SOURCES = [
    *(ROOT / "orders" / "api").rglob("*.py"),
    *(ROOT / "orders" / "login").rglob("*.py"),
    *(ROOT / "sideeffects" / "subscribers").rglob("views.py"),
]
ASKED = (RequestedOrder, OrderQuery, ReadOrder, EventQuery)
SHOP = ("config", "orders", "fulfillment", "sideeffects")


def calls() -> list[ast.Call]:
    return [node for file in SOURCES for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def declared() -> set[Problem]:
    """Every problem that a module of the shop knows; those of drf_canon where one uses them."""
    for module in pkgutil.walk_packages(orders.api.__path__, "orders.api."):
        importlib.import_module(module.name)
    loaded = [module for name, module in sys.modules.items() if name.partition(".")[0] in SHOP]
    return {value for module in loaded for value in vars(module).values() if isinstance(value, Problem)}


def raisable(base: type[exceptions.APIException] = exceptions.APIException) -> Iterator[exceptions.APIException]:
    """What DRF may raise by itself, before or after a view of ours."""
    for kind in base.__subclasses__():
        if kind.__module__ == exceptions.__name__:
            yield kind(*{"MethodNotAllowed": ["PUT"], "UnsupportedMediaType": ["text/plain"]}.get(kind.__name__, []))
            yield from raisable(kind)


def test_every_problem_has_a_page() -> None:
    explained = {page.problem for page in PAGES}

    assert len(declared()) > 12
    assert sorted(problem.slug for problem in declared() - explained) == []
    assert len({page.code for page in PAGES}) == len(PAGES)


@pytest.mark.parametrize("error", list(raisable()), ids=lambda error: type(error).__name__)
def test_whatever_the_framework_raises_has_a_page(error: exceptions.APIException) -> None:
    """Also what no view of ours has thought of."""
    answer: Any = problems.problem_handler(error, {"request": APIRequestFactory().get("/api/v1/orders"), "view": None})

    assert answer.data["code"] in {page.code for page in PAGES}
    assert Browser().get(answer.data["type"]).status_code == 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.code)
def test_a_page_says_what_it_means_and_what_to_do(page: Any) -> None:
    """I follow the address in the answer, and know what to do; without a token."""
    answer = Browser().get(page.problem.type)

    text = answer.content.decode()
    assert answer.status_code == 200
    assert page.code in text and "What to do" in text and "`" not in text
    assert f'"/problems/{page.problem.slug}"' in Browser().get("/problems/").content.decode()


def test_its_address_may_be_absolute_at_the_edge_too(settings: Any) -> None:
    """A problem that stands in a log of mine is a link."""
    settings.DRF_CANON = {"PROBLEM_TYPE_BASE": "https://shop.example/problems/"}

    refused = REFUSALS["timed_out"].document("req-7")
    answer = Browser().get("/api/v1/nowhere").json()

    assert refused["type"] == "https://shop.example/problems/request-timed-out"
    assert (answer["type"], answer["code"]) == ("https://shop.example/problems/not-found", "not_found")


def test_there_is_no_page_of_what_is_no_problem() -> None:
    """Whoever follows an old link finds the way."""
    for path in ("/problems/nothing", "/docs/nothing"):
        answer = Browser().get(path)

        assert answer.status_code == 404
        assert '"/docs"' in answer.content.decode() and '"/problems/"' in answer.content.decode()


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [("/docs/", "/docs"), ("/problems", "/problems/"), ("/problems/validation_error", "/problems/validation-error")],
)
def test_an_address_that_is_nearly_right_leads_to_the_page(path: str, leads_to: str) -> None:
    """I type the code that my program has seen."""
    answer = Browser().get(path)

    assert (answer.status_code, answer.headers["Location"]) == (302, leads_to)


def test_the_login_of_the_admin_leads_to_the_reference(db: None) -> None:
    """The address of the shop alone ends there."""
    assert 'href="/docs"' in Browser().get("/admin/login/").content.decode()


def test_the_list_is_sorted_and_what_no_operation_answers_stands_apart() -> None:
    """I look for what my program has met."""
    of_the_api = [page.problem.status for page in PAGES if page.of_the_api]
    codes = {code for operation in operations() for _, code in operation.codes}

    assert of_the_api == sorted(of_the_api)
    assert {page.code for page in PAGES if not page.of_the_api} & codes == set()


def codes_of_fields() -> Iterator[str]:
    """What our code refuses a field with: ``ErrorDetail(…, code)``, ``ValidationError(…, code)``, ``self.fail(code)``."""
    for call in calls():
        name = ast.unparse(call.func).rpartition(".")[2]
        place = {"ErrorDetail": 1, "ValidationError": 1, "fail": 0}.get(name)
        if place is not None and len(call.args) > place and isinstance(call.args[place], ast.Constant):
            yield ast.literal_eval(call.args[place])


def codes_of_the_framework(serializer: Any) -> Iterator[str]:
    """What DRF refuses a field with."""
    unused = {"invalid_unicode", "min_length", "max_length_list", "date", "make_aware", "overflow"}
    for field in serializer.fields.values():
        yield from set(field.error_messages) - unused
        yield from (validator.code for validator in field.validators if hasattr(validator, "code"))
        within = getattr(field, "child", field)
        if isinstance(within, serializers.Serializer):
            yield from codes_of_the_framework(within)


def test_every_refusal_of_a_field_is_explained() -> None:
    """The page of ``validation_error`` lists them."""
    codes = {*codes_of_fields(), *(code for asked in ASKED for code in codes_of_the_framework(asked()))}

    assert len(codes) > 15
    assert sorted(codes - {code for some, _ in FIELD_REFUSALS for code in some}) == []


def test_the_tables_of_the_docs_are_made_from_the_code() -> None:
    page = Path(settings.BASE_DIR) / "docs" / "errors.md"

    assert with_tables(page.read_text()) == page.read_text(), f"docs/errors.md is stale. Renew it: {RENEW}"
