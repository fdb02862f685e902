"""The guide: docs/api.md, as the reference shows it above its operations, so that one page is enough to write a client."""

import re
from typing import Any

from django.conf import settings

GUIDE = settings.BASE_DIR / "docs" / "api.md"
TITLE = re.compile(r"\A# .*\n+")
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
SERVED = {"errors.md": "/problems/", "openapi.json": "/openapi.json"}  # of the pages of the docs, those that the shop serves


def describe(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Hook of drf-spectacular."""
    result["info"]["description"] = guide()
    return result


def guide() -> str:
    """Without the paragraphs that lead to pages which the shop does not serve: they are for whoever reads it in the docs."""
    paragraphs = TITLE.sub("", GUIDE.read_text()).split("\n\n")
    return "\n\n".join(LINK.sub(_link, one) for one in paragraphs if all(_served(target) for _, target in LINK.findall(one)))


def _link(found: "re.Match[str]") -> str:
    words, target = found.groups()
    return f"[{words}]({_served(target)})"


def _served(target: str) -> str:
    """Its address in the shop; empty: the shop does not serve it."""
    return f"/docs{target}" if target.startswith("#") else SERVED.get(target.partition("#")[0], "")
