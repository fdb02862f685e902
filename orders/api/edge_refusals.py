"""What is refused before Django reads a request: by name, with the problem document that its client gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from drf_canon.errors import INTERNAL_ERROR, Problem

from orders.api.problems import BAD_REQUEST, BROKE, TOO_LARGE, members_of

TIMED_OUT = Problem("request-timed-out", "The request did not arrive in time", 408)
TARGET_TOO_LONG = Problem("target-too-long", "The request line is too long", 414)
UNKNOWN_ENCODING = Problem("unknown-encoding", "The body is packed in a way that is not known here", 415)
EXPECTATION_FAILED = Problem("expectation-failed", "The expectation cannot be met", 417)
HEADERS_TOO_LARGE = Problem("headers-too-large", "The headers are too large", 431)
UNKNOWN_TRANSFER_CODING = Problem("unknown-transfer-coding", "The transfer coding is not known here", 501)

# Those that nothing else answers.
OF_THE_EDGE = (TIMED_OUT, TARGET_TOO_LONG, UNKNOWN_ENCODING, EXPECTATION_FAILED, HEADERS_TOO_LARGE, UNKNOWN_TRANSFER_CODING)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    problem: Problem
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str, detail: str = "") -> dict[str, Any]:
        return members_of(self.problem, detail or self.detail, request_id)


REFUSALS = {
    "bad_request": Refusal(problem=BAD_REQUEST, detail="This cannot be read as a request of HTTP/1.1."),
    "content_type": Refusal(problem=BAD_REQUEST, detail="The Content-Type cannot be read."),
    "body": Refusal(problem=BAD_REQUEST, detail="The body is not chunked, or not packed, as the headers say."),
    "timed_out": Refusal(problem=TIMED_OUT, detail="The request did not arrive in time."),
    "too_large": Refusal(
        problem=TOO_LARGE, detail=f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024} KiB at most, unpacked."
    ),
    "target_too_long": Refusal(problem=TARGET_TOO_LONG, detail="The request line is longer than this shop reads."),
    "encoding": Refusal(
        problem=UNKNOWN_ENCODING, detail="A body may be packed by gzip, once, or not at all.", headers={"Accept-Encoding": "gzip"}
    ),
    "expectation_failed": Refusal(problem=EXPECTATION_FAILED, detail="Of all expectations only 100-continue can be met."),
    "headers_too_large": Refusal(problem=HEADERS_TOO_LARGE, detail="The headers are more, or longer, than this shop reads."),
    "transfer_coding": Refusal(problem=UNKNOWN_TRANSFER_CODING, detail="Of all transfer codings only chunked is known."),
    "internal_error": Refusal(problem=INTERNAL_ERROR, detail=BROKE),
}
