"""The log line of a refusal, without the message's body. What it shows of the message is cut and escaped: whoever has sent it has chosen its words."""

import logging
from typing import Any

log = logging.getLogger("config.consumer")
LONGEST = 80


def record(queue: Any, why: str, size: int | None, headers: Any = None) -> None:
    """``headers``: where they could be read, task and id are shown."""
    known = headers if isinstance(headers, dict) else {}
    log.error(
        "Message refused on queue %s: %s (%s bytes, task %s, id %s)",
        shown(queue),
        why,
        "?" if size is None else size,
        shown(known.get("task")),
        shown(known.get("id")),
    )


def shown(value: Any) -> str:
    return ascii(value[: LONGEST + 1])[1:-1][:LONGEST] if isinstance(value, str) and value else "?"
