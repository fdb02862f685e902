"""The guide: docs/api.md, as the reference shows it above its operations, so that one page is enough to write a client."""

import re
from typing import Any

from django.conf import settings

GUIDE = settings.BASE_DIR / "docs" / "api.md"
TITLE = re.compile(r"\A# .*\n+")
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
SERVED = {"errors.md": "/problems/"}  # of the pages of the docs, those that the shop serves


def describe(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Hook of drf-spectacular."""
    result["info"]["description"] = LINK.sub(_link, TITLE.sub("", GUIDE.read_text()))
    return result


def _link(found: "re.Match[str]") -> str:
    """To what the shop serves; else its words alone."""
    words, target = found.groups()
    served = target if target.startswith("/") else SERVED.get(target.partition("#")[0], "")
    return f"[{words}]({served})" if served else words
