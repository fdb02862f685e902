"""How an operation is documented: as drf-spectacular and drf-canon do it, with our problems, headers and examples."""

from collections.abc import Iterable
from typing import Any

from drf_canon.contrib.spectacular import AutoSchema
from drf_canon.errors.schema import ProblemSerializer
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as Spectacular
from drf_spectacular.plumbing import ComponentRegistry
from rest_framework import serializers

from orders.api import problems
from orders.api.answers import ProblemDocument
from orders.api.reference import examples
from orders.api.reference.answered import Refused, anywhere, by_status
from orders.api.reference.examples import Example
from orders.api.serializers import Strict

CODES = "x-codes"  # what ``code`` may be in an answer, for generated clients
TEXT = {"type": "string"}
REQUEST_ID = {"X-Request-ID": {"schema": TEXT, "description": "Finds the request in our logs."}}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before you ask again."}}
WWW_AUTHENTICATE = {"WWW-Authenticate": {"schema": TEXT, "description": "How to authenticate."}}
HEADERS = {"401": WWW_AUTHENTICATE, "429": RETRY_AFTER, "503": RETRY_AFTER}


class Schema(AutoSchema):
    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is not None:
            self._add_problems(operation)
            self._add_headers(operation)
            self._add_examples(operation)
        return operation

    def _add_problems(self, operation: dict[str, Any]) -> None:
        declared = self.get_response_serializers()
        refused: list[Refused] = [one for one in declared.values() if isinstance(one, Refused)] if isinstance(declared, dict) else []
        known = [*(problem for one in refused for problem in one.problems), *anywhere(operation, self.view)]
        for status, some in sorted(by_status(known).items()):
            response = operation["responses"].setdefault(str(status), self._get_response_for_code(ProblemSerializer, str(status)))
            response["description"] = "\n".join(f"- `{problems.code_of(problem)}`: {problem.title}." for problem in some)
            response[CODES] = [problems.code_of(problem) for problem in some]
        operation["responses"] = dict(sorted(operation["responses"].items()))

    def _add_headers(self, operation: dict[str, Any]) -> None:
        for status, response in operation["responses"].items():
            response["headers"] = REQUEST_ID | HEADERS.get(status, {}) | response.get("headers", {})

    def _add_examples(self, operation: dict[str, Any]) -> None:
        own = examples.of_operation(type(self.view), operation["operationId"])
        for example in [*own, *examples.of_every_operation()]:
            response = operation["responses"].get(example.status, {})
            if example.code in response.get(CODES, [None]):
                for media in response["content"].values():
                    media.setdefault("examples", {})[example.name] = example.shown
        usual = [example for example in own if example.is_of_a_success]
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media["examples"] = {example.name: {"summary": example.summary, "value": example.request["body"]} for example in usual}
        for parameter in operation.get("parameters", []):
            if shown := _values(parameter, usual):
                parameter["examples"] = shown

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: Any = None, direction: Any = "response"
    ) -> dict[str, Any]:
        """What drf_canon adds by itself is one of our documents, too."""
        ours = ProblemDocument() if getattr(serializer, "response", serializer) is ProblemSerializer else serializer
        return super()._get_response_for_code(ours, status_code, media_types, direction)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """A body that refuses unknown fields says so."""
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        return schema | {"additionalProperties": False} if isinstance(serializer, Strict) else schema

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """A list of objects has its bounds, too."""
        schema = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(field, serializers.ListSerializer):
            schema |= {} if field.allow_empty else {"minItems": 1}
            longest = getattr(field, "max_length", None)
            schema |= {"maxItems": longest} if longest else {}
        return schema


def _values(parameter: dict[str, Any], usual: Iterable[Example]) -> dict[str, Any]:
    """As the examples send this parameter."""
    place = {"path": "path", "query": "query", "header": "headers"}[parameter["in"]]
    is_list = parameter["schema"].get("type") == "array"
    sent = [(example, example.request.get(place, {}).get(parameter["name"])) for example in usual]
    return {
        example.name: {"summary": example.summary, "value": value.split(",") if is_list else value}
        for example, value in sent
        if value is not None
    }


class Token(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Whatever reads the tokens of API clients."""

    target_class = "knox.auth.TokenAuthentication"
    name = "token"
    match_subclasses = True
    priority = 1

    def get_security_definition(self, auto_schema: Spectacular) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Token …`: the word Token, a space, and the token that the shop has given you.",
        }
