"""Parameters of an operation that no serializer reads (headers, names in the path), and headers of its answers."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter

from orders.api import placing

HEADER: Final = OpenApiParameter.HEADER
PATH: Final = OpenApiParameter.PATH

NUMBER = OpenApiParameter("number", location=PATH, description="The `number` of one of your orders.")
SKU = OpenApiParameter("sku", location=PATH, description="The `sku` of a product.")
KEY = OpenApiParameter(
    "Idempotency-Key",
    location=HEADER,
    required=True,
    pattern=placing.KEY_PATTERN,
    description=f"One key for each order, the same with every retry, for example a UUID. At most {placing.MAX_KEY} printable ASCII characters. "
    "Blanks and one pair of quotes around it are no part of it.",
)
NEXT_PAGE = OpenApiParameter(
    "Link", location=HEADER, response=[200], description='The next page, as `<…>; rel="next"`, where there is one.'
)
PLACED = [
    OpenApiParameter("Location", location=HEADER, response=[201], required=True, description="The path of the order."),
    OpenApiParameter(
        "Idempotent-Replayed",
        location=HEADER,
        response=[201],
        enum=["true"],
        description="The key had placed this order before.",
    ),
]
REVALIDATED = [
    OpenApiParameter("If-None-Match", location=HEADER, description="The `ETag` of what you have: 304 says that it is still so."),
    OpenApiParameter("ETag", location=HEADER, response=[200, 304], required=True, description="Names this very answer."),
    OpenApiParameter("Cache-Control", location=HEADER, response=[200, 304], required=True, description="Always `private, no-cache`."),
]
NO_FIELDS: dict[str, Any] = {"application/json": {"type": "object", "additionalProperties": False}}  # a body that may be left out
