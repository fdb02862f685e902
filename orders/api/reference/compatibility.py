"""Whether a client that was written for one OpenAPI document works with another: what was taken away, by the place where it stood.

Additions are allowed: paths, operations, answers, fields of an answer, optional fields and parameters of a request, values of a request's enumeration. An answer's
enumeration may grow as well: the reference says that more may come.

No kept tool does this for OpenAPI 3.1 from Python or npm; oasdiff is a program in Go. What is not known here is not compared: descriptions, examples, links.
"""

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
REQUEST, ANSWER = "request", "answer"
# Bounds of a value. A request's may only widen, an answer's only narrow.
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
AS_IT_IS = ("pattern", "format", "const")  # nobody can tell which of two is the wider one


def breaks(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Each a sentence that begins with the place. Empty: only additions."""
    for path, methods in before["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            if (now := after["paths"].get(path, {}).get(method)) is None:
                yield f"{where}: the operation is gone"
            else:
                yield from _Comparison(before, after).of_operation(where, operation, now)


def breaks_of_event(before: Schema, after: Schema) -> Iterator[str]:
    """Of the schemas of one event: each a sentence that begins with the field. Its old readers read new payloads, and its new readers read recorded ones."""
    for side in (ANSWER, REQUEST):
        yield from _Comparison(before, after)._of_schema("payload", before, after, side)


class _Comparison:
    """Of two documents, whose schemas refer to others by name. ``_seen``: a schema may hold itself."""

    def __init__(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.before, self.after = before, after
        self._seen: set[tuple[str, str, str]] = set()

    def of_operation(self, where: str, was: Schema, now: Schema) -> Iterator[str]:
        if was["operationId"] != now["operationId"]:
            yield f"{where}: operationId {was['operationId']} is now {now['operationId']}: a generated client has another name for it"
        yield from self._of_parameters(where, was, now)
        yield from self._of_body(where, was, now)
        for status, answer in was["responses"].items():
            if status not in now["responses"]:
                yield f"{where}: answer {status} is gone"
            else:
                yield from self._of_answer(f"{where}: answer {status}", answer, now["responses"][status])
        if not was.get("security") and now.get("security"):
            yield f"{where}: a token is needed now"

    def _of_parameters(self, where: str, was: Schema, now: Schema) -> Iterator[str]:
        earlier, later = _by_place(was.get("parameters", [])), _by_place(now.get("parameters", []))
        for place, parameter in earlier.items():
            named = f"{where}: {' '.join(place)}"
            if place not in later:
                yield f"{named} is gone"
                continue
            if later[place].get("required") and not parameter.get("required"):
                yield f"{named} is required now"
            yield from self._of_schema(named, parameter["schema"], later[place]["schema"], REQUEST)
        for place in later.keys() - earlier.keys():
            if later[place].get("required"):
                yield f"{where}: {' '.join(place)} is new and required"

    def _of_body(self, where: str, was: Schema, now: Schema) -> Iterator[str]:
        earlier, later = was.get("requestBody", {}), now.get("requestBody", {})
        if later.get("required") and not earlier.get("required"):
            yield f"{where}: a body is required now"
        yield from self._of_content(f"{where}: body", earlier.get("content", {}), later.get("content", {}), REQUEST)

    def _of_answer(self, where: str, was: Schema, now: Schema) -> Iterator[str]:
        for header, described in was.get("headers", {}).items():
            if header not in now.get("headers", {}):
                yield f"{where}: header {header} is gone"
            elif described.get("required") and not now["headers"][header].get("required"):
                yield f"{where}: header {header} may be missing now"
        for code in set(was.get("x-codes", ())) - set(now.get("x-codes", ())):
            yield f"{where}: code {code} is gone"
        yield from self._of_content(where, was.get("content", {}), now.get("content", {}), ANSWER)

    def _of_content(self, where: str, was: Schema, now: Schema, side: str) -> Iterator[str]:
        for media, described in was.items():
            if media not in now:
                yield f"{where}: {media} is gone"
            else:
                yield from self._of_schema(where, described["schema"], now[media]["schema"], side)

    def _of_schema(self, where: str, was: Schema, now: Schema, side: str) -> Iterator[str]:
        pair = (str(was.get("$ref")), str(now.get("$ref")), side)
        if "$ref" in was and pair in self._seen:
            return
        self._seen.add(pair)
        was, now = _whole(was, self.before), _whole(now, self.after)
        yield from self._of_types(where, was, now, side)
        yield from self._of_bounds(where, was, now, side)
        yield from self._of_fields(where, was, now, side)
        if "items" in was and "items" in now:
            yield from self._of_schema(f"{where}[]", was["items"], now["items"], side)

    def _of_types(self, where: str, was: Schema, now: Schema, side: str) -> Iterator[str]:
        earlier, later = _types(was), _types(now)
        gone, new = earlier - later, later - earlier
        if side == REQUEST and gone:
            yield f"{where}: {', '.join(sorted(gone))} is not taken any more"
        if side == ANSWER and new:
            yield f"{where}: may be {', '.join(sorted(new))} now"
        values: list[Any] = was.get("enum", [])
        refused = [value for value in values if value not in now.get("enum", values)]
        if side == REQUEST and refused:
            yield f"{where}: {', '.join(map(str, refused))} is not taken any more"
        if side == REQUEST and "enum" in now and "enum" not in was:
            yield f"{where}: only some values are taken now"

    def _of_bounds(self, where: str, was: Schema, now: Schema, side: str) -> Iterator[str]:
        wider: dict[str, Callable[[Any, Any], bool]] = {name: lambda a, b: a > b for name in UPPER} | {
            name: lambda a, b: a < b for name in LOWER
        }
        for name, is_wider in wider.items():
            demanded, of = (now, was) if side == REQUEST else (was, now)
            if name in demanded and (name not in of or is_wider(of[name], demanded[name])):
                yield f"{where}: {name} was {was.get(name, 'not bounded')}, and is {now.get(name, 'not bounded')}"
        for name in AS_IT_IS:
            if was.get(name) != now.get(name) and name in (now if side == REQUEST else was):
                yield f"{where}: {name} was {was.get(name, 'free')}, and is {now.get(name, 'free')}"

    def _of_fields(self, where: str, was: Schema, now: Schema, side: str) -> Iterator[str]:
        earlier, later = was.get("properties", {}), now.get("properties", {})
        for name, field in earlier.items():
            if name not in later:
                yield f"{where}: field {name} is gone"
            else:
                yield from self._of_schema(f"{where}.{name}", field, later[name], side)
        needed_before, needed_now = set(was.get("required", ())), set(now.get("required", ()))
        if side == REQUEST:
            yield from (f"{where}: field {name} is required now" for name in sorted(needed_now - needed_before))
            if now.get("additionalProperties") is False and was.get("additionalProperties", True) is not False:
                yield f"{where}: unknown fields are refused now"
        else:
            yield from (f"{where}: field {name} may be missing now" for name in sorted((needed_before - needed_now) & later.keys()))


def _by_place(parameters: list[Schema]) -> dict[tuple[str, str], Schema]:
    return {(parameter["in"], parameter["name"]): parameter for parameter in parameters}


def _types(schema: Schema) -> set[str]:
    types = schema.get("type", ["anything"])
    return {types} if isinstance(types, str) else set(types)


def _whole(schema: Schema, document: dict[str, Any]) -> Schema:
    """With what it refers to in its place. ``allOf`` is how drf-spectacular says something about a schema that stands elsewhere."""
    whole = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
    for part in [schema] if "$ref" in schema else schema.get("allOf", []):
        named = part.get("$ref", "").rpartition("/")[2]
        whole = _whole(document["components"]["schemas"][named] if named else part, document) | whole
    return whole
