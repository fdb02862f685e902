"""Which type an answer has: JSON, also for whoever accepts problem documents alone, because that is the JSON of our errors.

DRF imports this module while it imports its own views, so nothing here may import those (or drf_canon, which does).
"""

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

PROBLEM_DOCUMENT = "application/problem+json"


class Negotiation(DefaultContentNegotiation):
    def get_accept_list(self, request: Request) -> list[str]:
        accepted: list[str] = super().get_accept_list(request)
        reads_problems = any(media.partition(";")[0].strip().lower() == PROBLEM_DOCUMENT for media in accepted)
        return [*accepted, JSONRenderer.media_type] if reads_problems else accepted
