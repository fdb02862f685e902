"""The OpenAPI document as it is made from the code: the text of docs/openapi.json."""

import json
from typing import Any

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.validation import validate_schema


class NotDocumented(Exception):
    """The code does not say enough about an operation. The message is what drf-spectacular has to say."""


def made_from_the_code() -> str:
    """Raises NotDocumented; jsonschema.ValidationError: it is not OpenAPI."""
    GENERATOR_STATS.reset()
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    if GENERATOR_STATS:
        warnings = [message for cache in (GENERATOR_STATS._error_cache, GENERATOR_STATS._warn_cache) for message in cache]
        raise NotDocumented("\n".join(warnings))
    validate_schema(document)  # type: ignore[no-untyped-call]
    plain = json.loads(OpenApiJsonRenderer().render(document))
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
