"""How an operation is documented: as drf-spectacular and drf-canon do it, with our problems, headers and examples."""

from typing import Any

from drf_canon.contrib.spectacular import AutoSchema
from drf_canon.errors.schema import ProblemSerializer
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as Spectacular
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from rest_framework import serializers

from orders.api import problems, rate_limits
from orders.api.access import scope_of
from orders.api.answers import ProblemDocument, Word
from orders.api.parameters import Names
from orders.api.reference import examples
from orders.api.reference.answered import Refused, anywhere, by_status
from orders.api.serializers import Strict

CODES = "x-codes"  # what ``code`` may be in an answer, for generated clients
TEXT = {"type": "string"}
REQUEST_ID = {"X-Request-ID": {"schema": TEXT, "description": "Finds the request in our logs."}}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before you ask again."}}
WWW_AUTHENTICATE = {"WWW-Authenticate": {"schema": TEXT, "description": "How to authenticate."}}
HEADERS = {"401": WWW_AUTHENTICATE, "403": WWW_AUTHENTICATE, "429": RETRY_AFTER, "503": RETRY_AFTER}
RATE_LIMIT = {
    "RateLimit-Policy": f"How many requests, and within how many seconds: `600;w={rate_limits.WINDOW_S}`.",
    "RateLimit-Limit": "How many requests you may send under this scope in one window.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until the window is over.",
}
NOT_COUNTED = ("401", "403", "406", "408", "413", "414", "417", "431", "501")  # refused before they are counted


class Schema(AutoSchema):
    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is not None:
            self._add_scope(operation)
            self._add_problems(operation)
            self._add_headers(operation, registry)
            self._add_examples(operation)
        return operation

    @property
    def scope(self) -> str:
        return scope_of(self.view, self.method) or ""

    def _add_scope(self, operation: dict[str, Any]) -> None:
        operation["description"] = f"{operation.get('description', '')}\n\nThe token needs the scope `{self.scope}`.".strip()

    def _add_problems(self, operation: dict[str, Any]) -> None:
        declared = self.get_response_serializers()
        refused: list[Refused] = [one for one in declared.values() if isinstance(one, Refused)] if isinstance(declared, dict) else []
        known = [*(problem for one in refused for problem in one.problems), *anywhere(operation, self.view)]
        for status, some in sorted(by_status(known).items()):
            response = operation["responses"].setdefault(str(status), self._get_response_for_code(ProblemSerializer, str(status)))
            response["description"] = "\n".join(f"- `{problems.code_of(problem)}`: {problem.title}." for problem in some)
            response[CODES] = [problems.code_of(problem) for problem in some]
        operation["responses"] = dict(sorted(operation["responses"].items()))

    def _add_headers(self, operation: dict[str, Any], registry: ComponentRegistry) -> None:
        """Those of the rate limit are on every answer to a request that was counted."""
        counted = {name: _shared_header(registry, name, described) for name, described in RATE_LIMIT.items()}
        for status, response in operation["responses"].items():
            limits = {} if status in NOT_COUNTED else counted
            response["headers"] = REQUEST_ID | HEADERS.get(status, {}) | response.get("headers", {}) | limits

    def _add_examples(self, operation: dict[str, Any]) -> None:
        own = examples.of_operation(type(self.view), operation["operationId"])
        for example in [*own, *examples.of_every_operation(self.scope), *examples.of_the_edge()]:
            response = operation["responses"].get(example.status, {})
            if example.code in response.get(CODES, [None]):
                shown = example.shown | {"description": f"`{self.method} {example.target(self.path, own)}`"}
                for media in response.get("content", {}).values():
                    media.setdefault("examples", {})[example.name] = shown
        usual = [example for example in own if example.is_of_a_success]
        bodies = {one.name: {"summary": one.summary, "value": one.request["body"]} for one in usual if "body" in one.request}
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media |= {"examples": bodies} if bodies else {}

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

    def _process_override_parameters(self, direction: Any = "request") -> Any:
        """Several values stand in one parameter, with commas between them; a client that repeats it is understood, too."""
        parameters = super()._process_override_parameters(direction)  # type: ignore[no-untyped-call]
        for parameter in parameters.values():
            parameter |= {"style": "form", "explode": False} if parameter["schema"].get("type") == "array" else {}
        return parameters

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """A list of objects has its bounds, too; names that are read from one text are a list; and a word of which more may come is no enumeration."""
        schema = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(field, Names):
            schema = {
                "type": "array",
                "items": {"type": "string", "enum": list(field.known)},
                "minItems": 1,
                "description": field.help_text,
            }
        if isinstance(field, Word):
            schema |= {"x-extensible-enum": field.known}
        if isinstance(field, serializers.ListSerializer):
            schema |= {} if field.allow_empty else {"minItems": 1}
            longest = getattr(field, "max_length", None)
            schema |= {"maxItems": longest} if longest else {}
        return schema


def _shared_header(registry: ComponentRegistry, name: str, described: str) -> dict[str, str]:
    schema = {"schema": TEXT if name == "RateLimit-Policy" else {"type": "integer", "minimum": 0}, "description": described}
    header = ResolvedComponent(name=name, type="headers", object=name, schema=schema)  # type: ignore[no-untyped-call]
    registry.register_on_missing(header)
    reference: dict[str, str] = header.ref
    return reference


class Token(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Whatever reads the tokens of API clients."""

    target_class = "orders.api.access.ClientTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Spectacular) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer …`, with the token that the shop has given you. The word Token is understood, too.",
        }

    def get_security_requirement(self, auto_schema: Spectacular) -> dict[str, list[Any]]:
        """With the scope, which OpenAPI 3.1 calls a role here."""
        return {self.name: [scope_of(auto_schema.view, auto_schema.method)]}
